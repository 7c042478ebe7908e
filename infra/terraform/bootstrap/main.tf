# The bucket that the other layers keep their state in. Its own state is a file beside this one: it is applied once, by hand.
variable "names" {
  description = "names.auto.tfvars.json, made from infra/names.yaml"
  type = object({
    account      = string
    region       = string
    prefix       = string
    state_bucket = string
  })
}

module "state" {
  source                         = "../modules/bucket"
  name                           = var.names.state_bucket
  old_versions_expire_after_days = 365
}

output "state_bucket" { value = module.state.name }
