# Who may do what in the cluster. Workflows that deploy may change what is in the channels' namespaces, and nothing else; prod's with a role of its own,
# which only a job behind prod's approval takes on.
locals {
  deployers = {
    deploy      = [var.names.namespaces.dev, var.names.namespaces.staging]
    deploy_prod = [var.names.namespaces.prod]
  }
}

resource "aws_eks_access_entry" "deploy" {
  for_each      = local.deployers
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = local.arn[each.key]
  # what AWS's policy below leaves out (kinds of other operators) can be given to this group in the cluster
  kubernetes_groups = ["${var.names.prefix}-deployers"]
}

resource "aws_eks_access_policy_association" "deploy" {
  for_each      = local.deployers
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.deploy[each.key].principal_arn
  policy_arn    = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy"
  access_scope {
    type       = "namespace"
    namespaces = each.value
  }
}

resource "aws_eks_access_entry" "admin" {
  for_each      = toset(concat(var.admins, [local.arn.cluster_layer]))
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value
}

resource "aws_eks_access_policy_association" "admin" {
  for_each      = aws_eks_access_entry.admin
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value.principal_arn
  policy_arn    = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
  access_scope {
    type = "cluster"
  }
}
