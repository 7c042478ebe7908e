output "cluster" { value = aws_eks_cluster.this.name }

output "cache" {
  description = "TOUCHSTONE_REDIS: an address that is new with every cluster; resume writes it into the channels' secrets"
  value       = var.cache ? "rediss://${aws_elasticache_replication_group.cache[0].primary_endpoint_address}:6379/0" : ""
}

output "database" {
  description = "where MLflow keeps its runs; resume writes it into the secret that MLflow reads"
  value       = var.database ? aws_db_instance.database[0].address : ""
}
