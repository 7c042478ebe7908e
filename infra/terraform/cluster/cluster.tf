locals {
  arn = { for key, name in var.names.roles : key => "arn:aws:iam::${var.names.account}:role/${name}" }
}

resource "aws_eks_cluster" "this" {
  name                          = var.names.cluster
  version                       = var.kubernetes_version
  role_arn                      = local.arn.eks_cluster
  bootstrap_self_managed_addons = false # Auto Mode brings network, DNS, volumes and load balancers
  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  depends_on                    = [aws_route.nat] # nodes fetch images through it; on the way down it goes last

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false # access.tf says who, whoever resumed it last
  }
  compute_config {
    enabled       = true
    node_pools    = ["general-purpose", "system"]
    node_role_arn = local.arn.eks_node
  }
  kubernetes_network_config {
    service_ipv4_cidr = "172.20.0.0/16" # the network policies name its resolver, 172.20.0.10
    elastic_load_balancing {
      enabled = true
    }
  }
  storage_config {
    block_storage {
      enabled = true
    }
  }
  vpc_config {
    subnet_ids              = data.aws_subnets.this["private"].ids
    endpoint_private_access = true
    endpoint_public_access  = length(var.api_cidrs) > 0
    public_access_cidrs     = length(var.api_cidrs) > 0 ? var.api_cidrs : null
  }
  encryption_config {
    resources = ["secrets"]
    provider {
      key_arn = data.aws_kms_alias.this.target_key_arn
    }
  }
  upgrade_policy {
    support_type = "STANDARD" # extended support costs six times as much an hour
  }
}

resource "aws_eks_addon" "this" {
  for_each                    = var.addons
  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  configuration_values        = length(each.value) == 0 ? null : jsonencode(each.value)
  resolve_conflicts_on_update = "OVERWRITE"
}

resource "aws_eks_pod_identity_association" "this" {
  for_each        = { for one in var.names.service_accounts : "${one.namespace}/${one.account}" => one }
  cluster_name    = aws_eks_cluster.this.name
  namespace       = each.value.namespace
  service_account = each.value.account
  role_arn        = local.arn[each.value.role]
}
