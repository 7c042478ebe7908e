output "guardrail" {
  value       = module.guardrail.guardrail
  description = "what the check `bedrock` of a configuration is given"
}
output "network" { value = module.network.vpc_id }
output "key" { value = aws_kms_key.this.arn }
output "repositories" { value = { for key, one in aws_ecr_repository.this : key => one.repository_url } }
output "workflow_roles" { value = { deploy = module.deploy_role.arn, deploy_prod = module.deploy_prod_role.arn, plan = module.plan_role.arn, cluster_layer = module.cluster_layer_role.arn } }
