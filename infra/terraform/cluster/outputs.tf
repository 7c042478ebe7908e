output "cluster" { value = aws_eks_cluster.this.name }

output "settings" {
  description = "what the application is told of addresses that are new with every cluster; resume writes them to the ConfigMap `endpoints`"
  value       = var.cache ? { TOUCHSTONE_REDIS = "rediss://${aws_elasticache_replication_group.cache[0].primary_endpoint_address}:6379/0" } : {}
}

output "database" {
  description = "where MLflow keeps its runs, and which secret holds the password"
  value = var.database ? {
    host   = aws_db_instance.database[0].address
    secret = one(aws_db_instance.database[0].master_user_secret[*].secret_arn)
  } : null
}
