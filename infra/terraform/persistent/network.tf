module "network" {
  source             = "../modules/network"
  name               = var.names.network
  region             = var.names.region
  cidr               = var.names.cidr
  zones              = [for letter in var.zones : "${var.names.region}${letter}"]
  flow_log_group_arn = aws_cloudwatch_log_group.this["network"].arn
  flow_log_role_arn  = module.network_logs_role.arn
}

resource "aws_cloudwatch_log_group" "this" {
  for_each          = var.names.log_groups
  name              = each.value
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.this.arn
}
