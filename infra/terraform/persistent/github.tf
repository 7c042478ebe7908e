# Workflows take roles on by GitHub's OIDC tokens: no key is kept anywhere. Each role is bound to one repository and to one of its
# environments, so an approval that GitHub asks for is in front of every right: what `dev` may do without one does not reach `prod`.

resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

locals {
  github_trust = { for role, subjects in {
    deploy_dev     = ["repo:${var.names.github}:environment:dev"]
    deploy_staging = ["repo:${var.names.github}:environment:staging"]
    deploy_prod    = ["repo:${var.names.github}:environment:prod"]
    evaluate       = ["repo:${var.names.github}:environment:nightly"]
    plan           = ["repo:${var.names.github}:pull_request"]
    cluster_layer  = ["repo:${var.names.github}:environment:infra"]
    } : role => [{
      Effect    = "Allow"
      Principal = { Federated = "arn:aws:iam::${var.names.account}:oidc-provider/token.actions.githubusercontent.com" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = { StringEquals = {
        "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
        "token.actions.githubusercontent.com:sub" = subjects
      } }
  }] }
  state = "arn:aws:s3:::${var.names.state_bucket}/*cluster.tfstate" # env:/NAME/cluster.tfstate in a workspace of another name
}

module "deploy_role" {
  source   = "../modules/service_role"
  for_each = var.names.namespaces
  name     = var.names.roles["deploy_${each.key}"]
  trust    = local.github_trust["deploy_${each.key}"]
  statements = concat(local.ask_models, [
    { Sid = "LogIn", Effect = "Allow", Action = "ecr:GetAuthorizationToken", Resource = "*" }, # it knows no narrower one
    {
      Sid    = "Pull"
      Effect = "Allow"
      Action = [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeImageScanFindings", "ecr:GetDownloadUrlForLayer",
      ]
      Resource = local.arn.ecr
    },
    { Sid = "Cluster", Effect = "Allow", Action = "eks:DescribeCluster", Resource = local.arn.cluster }, # what it may do inside: cluster/access.tf
    {
      Sid      = "Channels"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject"]
      Resource = "${local.arn.bucket.releases}/releases/*"
    },
    {
      Sid      = "OtherChannels"
      Effect   = "Deny"
      Action   = "s3:PutObject"
      Resource = [for channel in keys(var.names.namespaces) : "${local.arn.bucket.releases}/releases/channels/${channel}.json" if channel != each.key]
    },
    { # what its commands do to the channel is written down first; it reads nothing of it
      Sid      = "Audit"
      Effect   = "Allow"
      Action   = "dynamodb:PutItem"
      Resource = "arn:aws:dynamodb:${var.names.region}:${var.names.account}:table/${var.names.audit_tables[each.key]}"
    },
    { # documents of the repository, which the data pipeline brings
      Sid      = "Documents"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject"]
      Resource = "${local.arn.bucket.documents}/corpora/*"
    },
    { # those that were added since, which an evaluation searches too
      Sid      = "ReadAdded"
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = "${local.arn.bucket.documents}/${each.value}/*"
    },
    { # the index that it builds of them, and what an evaluation has computed
      Sid      = "Work"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      Resource = ["${local.arn.bucket.indexes}/indexes/*", "${local.arn.bucket.stages}/stages/*"]
    },
    { Sid = "List", Effect = "Allow", Action = "s3:ListBucket", Resource = [for bucket in ["releases", "indexes", "stages"] : local.arn.bucket[bucket]] },
    {
      Sid       = "ListDocuments"
      Effect    = "Allow"
      Action    = "s3:ListBucket"
      Resource  = local.arn.bucket.documents
      Condition = { StringLike = { "s3:prefix" = ["corpora/*", "${each.value}/*"] } }
    },
    local.use_key,
    ], [for statement in [{ # images are built in the environment of dev, and the others take those
      Sid      = "Push"
      Effect   = "Allow"
      Action   = ["ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"]
      Resource = local.arn.ecr
  }] : statement if each.key == "dev"])
}

module "evaluate_role" { # reads what every channel serves and writes evidence; so its environment is of the main branch alone, and asks nobody
  source = "../modules/service_role"
  name   = var.names.roles.evaluate
  trust  = local.github_trust.evaluate
  statements = concat(local.ask_models, [
    {
      Sid      = "Read"
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = ["${local.arn.bucket.releases}/releases/*", "${local.arn.bucket.indexes}/indexes/*", "${local.arn.bucket.documents}/*"]
    },
    {
      Sid      = "Audit"
      Effect   = "Allow"
      Action   = "dynamodb:PutItem"
      Resource = [for name in values(var.names.audit_tables) : "arn:aws:dynamodb:${var.names.region}:${var.names.account}:table/${name}"]
    },
    { Sid = "Evidence", Effect = "Allow", Action = "s3:PutObject", Resource = "${local.arn.bucket.releases}/releases/*/evidence/*" },
    {
      Sid      = "Work"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
      Resource = "${local.arn.bucket.stages}/stages/*"
    },
    { Sid = "List", Effect = "Allow", Action = "s3:ListBucket", Resource = [for bucket in ["releases", "indexes", "stages", "documents"] : local.arn.bucket[bucket]] },
    local.use_key,
  ])
}

module "plan_role" { # looks, and changes nothing; the plan of a pull request is made with -lock=false
  source  = "../modules/service_role"
  name    = var.names.roles.plan
  trust   = local.github_trust.plan
  managed = ["arn:aws:iam::aws:policy/SecurityAudit", "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"]
  statements = [
    { Sid = "State", Effect = "Allow", Action = "s3:GetObject", Resource = "arn:aws:s3:::${var.names.state_bucket}/*.tfstate" },
    { Sid = "ListState", Effect = "Allow", Action = "s3:ListBucket", Resource = "arn:aws:s3:::${var.names.state_bucket}" },
    { # plan reads data and documents of nobody
      Sid    = "NoContent"
      Effect = "Deny"
      Action = ["s3:GetObject", "s3:GetObjectVersion", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:BatchGetItem", "secretsmanager:GetSecretValue"]
      Resource = concat(
        [for name in values(var.names.buckets) : "arn:aws:s3:::${name}/*"],
        [for name in concat(values(var.names.tables), values(var.names.audit_tables)) : "arn:aws:dynamodb:${var.names.region}:${var.names.account}:table/${name}*"],
        ["arn:aws:secretsmanager:${var.names.region}:${var.names.account}:secret:*"],
      )
    },
  ]
}

module "cluster_layer_role" {
  source = "../modules/service_role"
  name   = var.names.roles.cluster_layer
  trust  = local.github_trust.cluster_layer
  hours  = 2
  statements = [
    { # a lock is a file that goes away; what was running is written down when it is paused
      Sid      = "State"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject"]
      Resource = [local.state, "${local.state}.tflock", "arn:aws:s3:::${var.names.state_bucket}/paused.json"]
    },
    { Sid = "Unlock", Effect = "Allow", Action = "s3:DeleteObject", Resource = "${local.state}.tflock" },
    { Sid = "List", Effect = "Allow", Action = "s3:ListBucket", Resource = ["arn:aws:s3:::${var.names.state_bucket}", local.arn.bucket.releases] },
    { Sid = "ReadChannels", Effect = "Allow", Action = "s3:GetObject", Resource = "${local.arn.bucket.releases}/releases/channels/*" },
    {
      Sid    = "Look"
      Effect = "Allow"
      Action = [
        "ec2:DescribeAccountAttributes", "ec2:DescribeAddresses", "ec2:DescribeAddressesAttribute", "ec2:DescribeAvailabilityZones",
        "ec2:DescribeInternetGateways", "ec2:DescribeNatGateways", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables",
        "ec2:DescribeSecurityGroupRules", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVolumes", "ec2:DescribeVpcs", "ec2:DescribeVpcAttribute",
        "eks:DescribeAddonVersions", "elasticache:DescribeCacheSubnetGroups", "elasticache:DescribeReplicationGroups", "elasticache:DescribeCacheClusters",
        "elasticache:DescribeUserGroups", "elasticache:DescribeUsers",
        "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeTags", "rds:DescribeDBInstances", "rds:DescribeDBSnapshots",
        "rds:DescribeDBSubnetGroups", "tag:GetResources", "cloudwatch:DescribeAlarms", "kms:ListAliases", "sns:ListTopics",
      ]
      Resource = "*"
    },
    {
      Sid    = "Cluster"
      Effect = "Allow"
      Action = [
        "eks:AssociateAccessPolicy", "eks:CreateAccessEntry", "eks:CreateAddon", "eks:CreatePodIdentityAssociation",
        "eks:DeleteAccessEntry", "eks:DeleteAddon", "eks:DeleteCluster", "eks:DeletePodIdentityAssociation", "eks:DescribeAccessEntry",
        "eks:DescribeAddon", "eks:DescribeCluster", "eks:DescribePodIdentityAssociation", "eks:DescribeUpdate", "eks:DisassociateAccessPolicy",
        "eks:ListAccessEntries", "eks:ListAddons", "eks:ListAssociatedAccessPolicies", "eks:ListPodIdentityAssociations", "eks:ListTagsForResource",
        "eks:TagResource", "eks:UntagResource", "eks:UpdateAccessEntry", "eks:UpdateAddon", "eks:UpdateClusterConfig", "eks:UpdateClusterVersion",
        "eks:UpdatePodIdentityAssociation",
      ]
      Resource = [for kind in ["cluster", "access-entry", "addon", "podidentityassociation"] :
        "arn:aws:eks:${var.names.region}:${var.names.account}:${kind}/${var.names.cluster}${kind == "cluster" ? "" : "/*"}"
      ]
    },
    { # it knows no narrower one
      Sid       = "MakeCluster"
      Effect    = "Allow"
      Action    = "eks:CreateCluster"
      Resource  = "*"
      Condition = { StringEquals = { "aws:RequestTag/Layer" = "cluster" } }
    },
    { # only the two roles of the cluster, and those of its pods, to EKS
      Sid       = "PassRoles"
      Effect    = "Allow"
      Action    = "iam:PassRole"
      Resource  = [for role in ["eks_cluster", "eks_node", "api", "harness", "mlflow"] : local.arn.role[role]]
      Condition = { StringEquals = { "iam:PassedToService" = ["eks.amazonaws.com", "pods.eks.amazonaws.com", "ec2.amazonaws.com"] } }
    },
    { Sid = "LookAtRoles", Effect = "Allow", Action = "iam:GetRole", Resource = [for role in ["eks_cluster", "eks_node", "api", "harness", "mlflow"] : local.arn.role[role]] },
    { # what is made carries the layer's tag from the first moment
      Sid       = "MakeNetwork"
      Effect    = "Allow"
      Action    = ["ec2:AllocateAddress", "ec2:CreateNatGateway", "ec2:CreateSecurityGroup"]
      Resource  = [for kind in ["elastic-ip", "natgateway", "security-group"] : "arn:aws:ec2:${var.names.region}:${var.names.account}:${kind}/*"]
      Condition = { StringEquals = { "aws:RequestTag/Layer" = "cluster" } }
    },
    { # a rule is tagged as it is made, before it has a tag to be known by; the group that it goes into has one: ChangeNetwork
      Sid       = "MakeRules"
      Effect    = "Allow"
      Action    = ["ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress"]
      Resource  = "arn:aws:ec2:${var.names.region}:${var.names.account}:security-group-rule/*"
      Condition = { StringEquals = { "aws:RequestTag/Layer" = "cluster" } }
    },
    { # what it is made in and of
      Sid      = "MakeNetworkIn"
      Effect   = "Allow"
      Action   = ["ec2:CreateNatGateway", "ec2:CreateSecurityGroup"]
      Resource = [for kind in ["elastic-ip", "subnet", "vpc"] : "arn:aws:ec2:${var.names.region}:${var.names.account}:${kind}/*"]
    },
    {
      Sid       = "TagNetwork"
      Effect    = "Allow"
      Action    = "ec2:CreateTags"
      Resource  = [for kind in ["elastic-ip", "natgateway", "security-group", "security-group-rule"] : "arn:aws:ec2:${var.names.region}:${var.names.account}:${kind}/*"]
      Condition = { StringEquals = { "ec2:CreateAction" = ["AllocateAddress", "CreateNatGateway", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"] } }
    },
    { # and only that is removed or opened
      Sid    = "ChangeNetwork"
      Effect = "Allow"
      Action = [
        "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteNatGateway", "ec2:DeleteSecurityGroup",
        "ec2:DisassociateAddress", "ec2:ReleaseAddress", "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress",
      ]
      Resource  = [for kind in ["elastic-ip", "natgateway", "security-group", "security-group-rule"] : "arn:aws:ec2:${var.names.region}:${var.names.account}:${kind}/*"]
      Condition = { StringEquals = { "aws:ResourceTag/Layer" = "cluster" } }
    },
    {
      Sid       = "Route"
      Effect    = "Allow"
      Action    = ["ec2:CreateRoute", "ec2:DeleteRoute"]
      Resource  = "arn:aws:ec2:${var.names.region}:${var.names.account}:route-table/*"
      Condition = { StringEquals = { "aws:ResourceTag/Network" = var.names.network, "aws:ResourceTag/Tier" = "private" } }
    },
    {
      Sid    = "Cache"
      Effect = "Allow"
      Action = [
        "elasticache:AddTagsToResource", "elasticache:CreateCacheSubnetGroup", "elasticache:CreateReplicationGroup", "elasticache:CreateUser",
        "elasticache:CreateUserGroup", "elasticache:DeleteCacheSubnetGroup", "elasticache:DeleteReplicationGroup", "elasticache:DeleteUser",
        "elasticache:DeleteUserGroup", "elasticache:ListTagsForResource", "elasticache:ModifyReplicationGroup", "elasticache:ModifyUser",
        "elasticache:ModifyUserGroup",
      ]
      Resource = [for kind in ["replicationgroup", "subnetgroup", "cluster", "user", "usergroup"] : "arn:aws:elasticache:${var.names.region}:${var.names.account}:${kind}:${var.names.prefix}-*"]
    },
    { # a cache without parameters of its own has AWS's
      Sid      = "CacheDefaults"
      Effect   = "Allow"
      Action   = "elasticache:CreateReplicationGroup"
      Resource = "arn:aws:elasticache:${var.names.region}:${var.names.account}:parametergroup:default.*"
    },
    {
      Sid    = "Database"
      Effect = "Allow"
      Action = [
        "rds:AddTagsToResource", "rds:CreateDBInstance", "rds:CreateDBSnapshot", "rds:CreateDBSubnetGroup", "rds:DeleteDBInstance", "rds:DeleteDBSubnetGroup",
        "rds:ListTagsForResource", "rds:ModifyDBInstance", "rds:RestoreDBInstanceFromDBSnapshot",
      ]
      Resource = [for kind in ["db", "subgrp", "snapshot"] : "arn:aws:rds:${var.names.region}:${var.names.account}:${kind}:${var.names.prefix}-*"]
    },
    {
      Sid      = "DatabaseDefaults"
      Effect   = "Allow"
      Action   = ["rds:CreateDBInstance", "rds:ModifyDBInstance", "rds:RestoreDBInstanceFromDBSnapshot"]
      Resource = [for kind in ["pg", "og"] : "arn:aws:rds:${var.names.region}:${var.names.account}:${kind}:default*"]
    },
    { # the addresses of stores that are new with every cluster
      Sid    = "StoreAddresses"
      Effect = "Allow"
      Action = ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"]
      Resource = [for key, name in var.names.secrets :
        "arn:aws:secretsmanager:${var.names.region}:${var.names.account}:secret:${name}-??????" if endswith(key, "_cache_secret") || key == "mlflow_database"
      ]
    },
    {
      Sid      = "AlertAddresses"
      Effect   = "Allow"
      Action   = "secretsmanager:GetSecretValue"
      Resource = "arn:aws:secretsmanager:${var.names.region}:${var.names.account}:secret:${var.names.secrets.alerts}-??????"
    },
    { # whether anybody has put the callers there, and never who they are
      Sid      = "LookAtCallers"
      Effect   = "Allow"
      Action   = "secretsmanager:DescribeSecret"
      Resource = "arn:aws:secretsmanager:${var.names.region}:${var.names.account}:secret:*/api-keys-??????"
    },
    { Sid = "LookAtKey", Effect = "Allow", Action = "kms:DescribeKey", Resource = aws_kms_key.this.arn },
    { # for the services that encrypt with it
      Sid       = "LendKey"
      Effect    = "Allow"
      Action    = "kms:CreateGrant"
      Resource  = aws_kms_key.this.arn
      Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
    },
    {
      Sid       = "Key"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = aws_kms_key.this.arn
      Condition = { StringEquals = { "kms:ViaService" = [for service in ["rds", "secretsmanager", "s3"] : "${service}.${var.names.region}.amazonaws.com"] } }
    },
    {
      Sid      = "Alarms"
      Effect   = "Allow"
      Action   = ["cloudwatch:DeleteAlarms", "cloudwatch:ListTagsForResource", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"]
      Resource = [for alarm in ["cache-full-*", "database-space"] : "arn:aws:cloudwatch:${var.names.region}:${var.names.account}:alarm:${var.names.prefix}-${alarm}"]
    },
    {
      Sid      = "Topic"
      Effect   = "Allow"
      Action   = ["sns:GetTopicAttributes", "sns:ListTagsForResource"]
      Resource = "arn:aws:sns:${var.names.region}:${var.names.account}:${var.names.topic}"
    },
    { # the roles that AWS's services make for themselves in an account which has not used them yet
      Sid       = "ServiceLinkedRoles"
      Effect    = "Allow"
      Action    = "iam:CreateServiceLinkedRole"
      Resource  = "arn:aws:iam::${var.names.account}:role/aws-service-role/*"
      Condition = { StringEquals = { "iam:AWSServiceName" = ["eks.amazonaws.com", "elasticache.amazonaws.com", "elasticloadbalancing.amazonaws.com", "rds.amazonaws.com"] } }
    },
  ]
}
