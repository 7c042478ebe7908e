variable "names" {
  description = "names.auto.tfvars.json, made from infra/names.yaml"
  type = object({
    account      = string
    region       = string
    prefix       = string
    cluster      = string
    network      = string
    key          = string
    topic        = string
    cache        = string
    postgres     = string
    namespaces   = map(string)
    cache_users  = map(string)
    cache_access = map(string)
    roles = object({
      api            = string
      harness        = string
      mlflow         = string
      deploy_dev     = string
      deploy_staging = string
      deploy_prod    = string
      cluster_layer  = string
      eks_cluster    = string
      eks_node       = string
    })
    service_accounts = list(object({
      role      = string
      namespace = string
      account   = string
    }))
  })
}

variable "kubernetes_version" {
  type        = string
  default     = "1.35"
  description = "standard support ends on 27 March 2027; a cluster is made anew by every resume, so raise it here before that"
}

variable "api_cidrs" {
  type        = list(string)
  default     = []
  description = "from where the cluster's own API may be reached; none: only from inside the network"
  validation {
    condition     = alltrue([for network in var.api_cidrs : can(cidrhost(network, 0)) && try(tonumber(split("/", network)[1]), 0) >= 8])
    error_message = "The cluster's API is not for everyone: name the networks that may reach it, each of a /8 or smaller, such as 203.0.113.0/24."
  }
}

variable "admins" {
  type        = list(string)
  default     = []
  description = "ARNs of roles that may do everything in the cluster, besides that of workflows which pause and resume: yours, if you do it by hand"
  validation {
    condition     = alltrue([for admin in var.admins : can(regex("^arn:aws:iam::[0-9]{12}:(role|user)/.+$", admin))])
    error_message = "An administrator is named by the ARN of a role, arn:aws:iam::123456789012:role/NAME, and not by that of a session (arn:aws:sts::…)."
  }
}

variable "addons" {
  type = any # by name, the settings of each
  default = {
    metrics-server = {}
    # both are off by default: what pods read from their environment, and a changed file of callers
    aws-secrets-store-csi-driver-provider = { secrets-store-csi-driver = { syncSecret = { enabled = true }, enableSecretRotation = true } }
  }
  description = "what Auto Mode does not bring: figures for autoscaling, and secrets as files"
}

variable "cache" {
  type        = bool
  default     = true
  description = "a Valkey that the servers share answers, limits and budgets on; without it each keeps its own"
}

variable "cache_node" {
  type    = string
  default = "cache.t4g.small"
}

variable "cache_nodes" {
  type        = number
  default     = 2
  description = "with 2 or more one takes over when another fails"
}

variable "database" {
  type        = bool
  default     = true
  description = "a Postgres for MLflow; without it MLflow keeps its runs where its pod does"
}

variable "database_class" {
  type    = string
  default = "db.t4g.small"
}

variable "database_password" {
  type        = string
  default     = null
  sensitive   = true
  description = "resume takes it from the secret that MLflow reads, and makes one where there is none"
}

variable "database_snapshot" {
  type        = string
  default     = null
  description = "the snapshot that the database is made from; resume names the latest. None: an empty one"
}
