variable "names" {
  description = "names.auto.tfvars.json, made from infra/names.yaml"
  type = object({
    account      = string
    region       = string
    prefix       = string
    github       = string
    cidr         = string
    cluster      = string
    network      = string
    key          = string
    topic        = string
    cache        = string
    budget       = string
    state_bucket = string
    buckets = object({
      documents = string
      indexes   = string
      releases  = string
      stages    = string
      mlflow    = string
      logs      = string
    })
    namespaces   = map(string)
    tables       = map(string)
    audit_tables = map(string)
    secrets      = map(string)
    repositories = map(string)
    log_groups   = map(string)
    roles = object({
      api            = string
      harness        = string
      mlflow         = string
      deploy_dev     = string
      deploy_staging = string
      deploy_prod    = string
      evaluate       = string
      plan           = string
      cluster_layer  = string
      eks_cluster    = string
      eks_node       = string
      network_logs   = string
    })
    service_accounts = list(object({
      role      = string
      namespace = string
      account   = string
    }))
  })
}

variable "zones" {
  type        = list(string)
  default     = ["a", "b"]
  description = "letters of availability zones that the account has in the region (aws ec2 describe-availability-zones); EKS wants two or more"
  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 8 && alltrue([for zone in var.zones : can(regex("^[a-z]$", zone))])
    error_message = "EKS wants two zones or more (eight at most here), each by its letter: [\"a\", \"b\"]."
  }
}

variable "models" {
  type        = list(string)
  description = "models of Bedrock that may be called, as foundation-model ids"
  default     = ["amazon.nova-micro-v1:0", "amazon.nova-lite-v1:0", "amazon.nova-pro-v1:0", "amazon.nova-2-lite-v1:0", "amazon.titan-embed-text-v2:0", "amazon.rerank-v1:0"]
}

variable "inference_profiles" {
  type        = list(string)
  description = "profiles through which they are called across regions; none: those of Nova for the part of the world that the region is in"
  default     = null
}

variable "channels_by_http" {
  type        = bool
  default     = false
  description = "whether administrators may move channels through the API; then a server of one channel may write the documents of all"
}

variable "log_days" {
  type    = number
  default = 90
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 or 731 days."
  }
}

variable "stage_days" {
  type        = number
  default     = 60
  description = "after so many days what a sweep computed is removed; it would be computed again"
}

variable "usd_a_month" {
  type        = number
  default     = 500
  description = "the budget: a message at 80 % and at 100 %, and when the month is going to end above it"
  validation {
    condition     = var.usd_a_month > 0
    error_message = "A budget is above 0."
  }
}

variable "alarm_emails" {
  type        = list(string)
  default     = []
  description = "who is told; each has to confirm the first message"
  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "Alarms go to addresses of mail, such as you@example.com."
  }
}
