# Who may do what. infra/checks/iam-matrix.yaml says it as cases, and every one is tried.
#
# Pods take roles on by EKS Pod Identity, which survives a pause (a role for service accounts trusts an OIDC issuer that changes with
# every cluster). A session carries the pod's namespace as a tag: where ${aws:PrincipalTag/kubernetes-namespace} stands below, a pod of
# one channel reaches what is that channel's, and nothing of another.

locals {
  arn = {
    ecr       = [for name in var.names.repositories : "arn:aws:ecr:${var.names.region}:${var.names.account}:repository/${name}"]
    models    = concat(local.foundation_models, local.profiles)
    traces    = "arn:aws:dynamodb:${var.names.region}:${var.names.account}:table/$${aws:PrincipalTag/kubernetes-namespace}-traces"
    audit     = "arn:aws:dynamodb:${var.names.region}:${var.names.account}:table/$${aws:PrincipalTag/kubernetes-namespace}-audit"
    secrets   = "arn:aws:secretsmanager:${var.names.region}:${var.names.account}:secret:$${aws:PrincipalTag/kubernetes-namespace}/*"
    cluster   = "arn:aws:eks:${var.names.region}:${var.names.account}:cluster/${var.names.cluster}"
    bucket    = { for key, name in var.names.buckets : key => "arn:aws:s3:::${name}" }
    role      = { for key, name in var.names.roles : key => "arn:aws:iam::${var.names.account}:role/${name}" }
    guardrail = "arn:aws:bedrock:${var.names.region}:${var.names.account}:guardrail/${module.guardrail.guardrail.guardrail}"
  }
  # a profile sends a call on to any region it covers, and the caller needs the right to the model there
  foundation_models = [for model in var.models : "arn:aws:bedrock:*::foundation-model/${model}"]
  profiles          = [for profile in local.inference_profiles : "arn:aws:bedrock:${var.names.region}:${var.names.account}:inference-profile/${profile}"]
  # us.amazon.nova-… in us-east-1, eu.… in eu-central-1, apac.… in ap-southeast-2
  part_of_world = lookup({ ap = "apac", eu = "eu", us = "us" }, split("-", var.names.region)[0], null)
  inference_profiles = var.inference_profiles != null ? var.inference_profiles : concat(
    local.part_of_world == null ? [] : [for model in ["nova-micro-v1:0", "nova-lite-v1:0", "nova-pro-v1:0", "nova-2-lite-v1:0"] : "${local.part_of_world}.amazon.${model}"],
    ["global.amazon.nova-2-lite-v1:0"],
  )

  sources = ["corpora", "$${aws:PrincipalTag/kubernetes-namespace}-incoming"] # folders of the documents' bucket: what workflows bring, what others put there

  pod_trust = { for role in ["api", "harness", "mlflow"] : role => [{
    Effect    = "Allow"
    Principal = { Service = "pods.eks.amazonaws.com" }
    Action    = ["sts:AssumeRole", "sts:TagSession"]
    Condition = {
      StringEquals = {
        "aws:SourceAccount"                         = var.names.account
        "aws:RequestTag/kubernetes-namespace"       = distinct([for one in var.names.service_accounts : one.namespace if one.role == role])
        "aws:RequestTag/kubernetes-service-account" = distinct([for one in var.names.service_accounts : one.account if one.role == role])
      }
      ArnEquals = { "aws:SourceArn" = local.arn.cluster }
    }
  }] }

  use_key = {
    Sid      = "Key"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = aws_kms_key.this.arn
    Condition = { StringEquals = { "kms:ViaService" = [
      for service in ["s3", "dynamodb", "secretsmanager"] : "${service}.${var.names.region}.amazonaws.com"
    ] } }
  }
  # entries are added and read; nothing is changed and nothing is deleted
  write_audit = { Sid = "Audit", Effect = "Allow", Action = ["dynamodb:PutItem", "dynamodb:Query"], Resource = local.arn.audit }
  ask_models = [
    { Sid = "Models", Effect = "Allow", Action = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"], Resource = local.arn.models },
    { Sid = "Profiles", Effect = "Allow", Action = "bedrock:GetInferenceProfile", Resource = local.profiles },
    { Sid = "Rerank", Effect = "Allow", Action = "bedrock:Rerank", Resource = "*" }, # it knows no narrower one; which models: Models
    { Sid = "Guardrail", Effect = "Allow", Action = "bedrock:ApplyGuardrail", Resource = local.arn.guardrail },
  ]
}

module "api_role" {
  source = "../modules/service_role"
  name   = var.names.roles.api
  trust  = local.pod_trust.api
  statements = concat(local.ask_models, [for statement in [{
    Sid      = "MoveChannels"
    Effect   = "Allow"
    Action   = "s3:PutObject"
    Resource = "${local.arn.bucket.releases}/releases/channels/*"
    }] : statement if var.channels_by_http], [
    {
      Sid      = "ReadReleases"
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = ["${local.arn.bucket.releases}/releases/*", "${local.arn.bucket.indexes}/indexes/*"]
    },
    {
      Sid      = "Documents"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
      Resource = "${local.arn.bucket.documents}/$${aws:PrincipalTag/kubernetes-namespace}/*"
    },
    {
      Sid       = "ListDocuments"
      Effect    = "Allow"
      Action    = "s3:ListBucket"
      Resource  = local.arn.bucket.documents
      Condition = { StringLike = { "s3:prefix" = "$${aws:PrincipalTag/kubernetes-namespace}/*" } }
    },
    { Sid = "List", Effect = "Allow", Action = "s3:ListBucket", Resource = [local.arn.bucket.releases, local.arn.bucket.indexes] },
    {
      Sid      = "Traces"
      Effect   = "Allow"
      Action   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:Query"]
      Resource = [local.arn.traces, "${local.arn.traces}/index/*"]
    },
    local.write_audit,
    { # the shared cache, as the channel's own user of it: cluster/stores.tf
      Sid      = "Cache"
      Effect   = "Allow"
      Action   = "elasticache:Connect"
      Resource = [for name in ["replicationgroup:${var.names.cache}", "user:$${aws:PrincipalTag/kubernetes-namespace}"] : "arn:aws:elasticache:${var.names.region}:${var.names.account}:${name}"]
    },
    { Sid = "Secrets", Effect = "Allow", Action = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], Resource = local.arn.secrets },
    local.use_key,
  ])
}

module "harness_role" { # sweeps, index builds, evaluations, promotions
  source = "../modules/service_role"
  name   = var.names.roles.harness
  trust  = local.pod_trust.harness
  hours  = 12
  statements = concat(local.ask_models, [
    {
      Sid    = "Work"
      Effect = "Allow"
      Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      Resource = [
        "${local.arn.bucket.indexes}/indexes/*", "${local.arn.bucket.stages}/stages/*",
        "${local.arn.bucket.documents}/$${aws:PrincipalTag/kubernetes-namespace}/*",
      ]
    },
    { # what every channel may be built of
      Sid      = "Sources"
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = [for source in local.sources : "${local.arn.bucket.documents}/${source}/*"]
    },
    { # a release that is there stays as it is: none is removed
      Sid      = "Promote"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject"]
      Resource = "${local.arn.bucket.releases}/releases/*"
    },
    {
      Sid      = "List"
      Effect   = "Allow"
      Action   = "s3:ListBucket"
      Resource = [for bucket in ["indexes", "stages", "releases"] : local.arn.bucket[bucket]]
    },
    {
      Sid       = "ListDocuments"
      Effect    = "Allow"
      Action    = "s3:ListBucket"
      Resource  = local.arn.bucket.documents
      Condition = { StringLike = { "s3:prefix" = concat(["$${aws:PrincipalTag/kubernetes-namespace}/*"], [for source in local.sources : "${source}/*"]) } }
    },
    {
      Sid      = "ReadTraces"
      Effect   = "Allow"
      Action   = "dynamodb:Query"
      Resource = [local.arn.traces, "${local.arn.traces}/index/*"]
    },
    local.write_audit,
    local.use_key,
    ], [ # a channel is moved from its own namespace only
    for channel, namespace in var.names.namespaces : {
      Sid       = "NotFromElsewhere${title(channel)}"
      Effect    = "Deny"
      Action    = "s3:PutObject"
      Resource  = "${local.arn.bucket.releases}/releases/channels/${channel}.json"
      Condition = { StringNotEquals = { "aws:PrincipalTag/kubernetes-namespace" = namespace } }
    }
  ])
}

module "mlflow_role" {
  source = "../modules/service_role"
  name   = var.names.roles.mlflow
  trust  = local.pod_trust.mlflow
  statements = [
    {
      Sid      = "Artefacts"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      Resource = "${local.arn.bucket.mlflow}/*"
    },
    { Sid = "List", Effect = "Allow", Action = "s3:ListBucket", Resource = local.arn.bucket.mlflow },
    { Sid = "Database", Effect = "Allow", Action = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], Resource = local.arn.secrets },
    local.use_key,
  ]
}

module "network_logs_role" {
  source = "../modules/service_role"
  name   = var.names.roles.network_logs
  trust = [{
    Effect    = "Allow"
    Principal = { Service = "vpc-flow-logs.amazonaws.com" }
    Action    = "sts:AssumeRole"
    Condition = { StringEquals = { "aws:SourceAccount" = var.names.account } }
  }]
  statements = [{
    Sid      = "Write"
    Effect   = "Allow"
    Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    Resource = "arn:aws:logs:${var.names.region}:${var.names.account}:log-group:${var.names.log_groups.network}:*"
  }]
}

# EKS Auto Mode's two roles are here and not in the cluster layer, so that pausing and resuming need no right to make roles.
module "eks_cluster_role" {
  source = "../modules/service_role"
  name   = var.names.roles.eks_cluster
  trust  = [{ Effect = "Allow", Principal = { Service = "eks.amazonaws.com" }, Action = ["sts:AssumeRole", "sts:TagSession"] }]
  managed = [for policy in ["AmazonEKSClusterPolicy", "AmazonEKSComputePolicy", "AmazonEKSBlockStoragePolicy", "AmazonEKSLoadBalancingPolicy", "AmazonEKSNetworkingPolicy"] :
    "arn:aws:iam::aws:policy/${policy}"
  ]
}

module "eks_node_role" {
  source = "../modules/service_role"
  name   = var.names.roles.eks_node
  trust  = [{ Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" }]
  managed = [for policy in ["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly", "CloudWatchAgentServerPolicy"] :
    "arn:aws:iam::aws:policy/${policy}"
  ]
}
