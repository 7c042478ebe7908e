# Two stores that cost by the hour. What is in the cache may go; the database leaves a snapshot whenever it is destroyed.

resource "aws_security_group" "store" {
  for_each    = toset([for name, wanted in { cache = var.cache, database = var.database } : name if wanted])
  name        = "${var.names.prefix}-${each.key}"
  description = "${each.key}: reached by the cluster's nodes and pods only"
  vpc_id      = data.aws_vpc.this.id
  tags        = { Name = "${var.names.prefix}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "store" {
  for_each                     = aws_security_group.store
  security_group_id            = each.value.id
  referenced_security_group_id = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.key == "cache" ? 6379 : 5432
  to_port                      = each.key == "cache" ? 6379 : 5432
  description                  = "from the cluster"
}

resource "aws_elasticache_subnet_group" "cache" {
  count      = var.cache ? 1 : 0
  name       = var.names.cache
  subnet_ids = data.aws_subnets.this["private"].ids
}

# Who a channel's servers are in the cache. They sign in with a token of IAM (persistent/roles.tf: each as its own namespace), so no password lies in
# the state, and reach the keys of their channel by the commands that the application uses: serving/pipeline/redis/rights.py.
resource "aws_elasticache_user" "channel" {
  for_each      = var.cache ? var.names.cache_users : {}
  user_id       = each.value
  user_name     = each.value # AWS wants both alike of those who sign in by IAM
  engine        = "valkey"
  access_string = var.names.cache_access[each.key]
  authentication_mode {
    type = "iam"
  }
}

# Nobody else is let in: with a group of Valkey's there is no default user, which a group of Redis' would have to name.
resource "aws_elasticache_user_group" "cache" {
  count         = var.cache ? 1 : 0
  user_group_id = var.names.cache
  engine        = "valkey"
  user_ids      = [for user in aws_elasticache_user.channel : user.user_id]
}

resource "aws_elasticache_replication_group" "cache" {
  count                      = var.cache ? 1 : 0
  replication_group_id       = var.names.cache
  description                = "answers, limits and budgets that servers share"
  engine                     = "valkey"
  engine_version             = "8.0"
  parameter_group_name       = "default.valkey8"
  node_type                  = var.cache_node
  num_cache_clusters         = var.cache_nodes
  automatic_failover_enabled = var.cache_nodes > 1
  multi_az_enabled           = var.cache_nodes > 1
  port                       = 6379
  subnet_group_name          = aws_elasticache_subnet_group.cache[0].name
  security_group_ids         = [aws_security_group.store["cache"].id]
  user_group_ids             = [aws_elasticache_user_group.cache[0].user_group_id]
  transit_encryption_enabled = true
  at_rest_encryption_enabled = true
  kms_key_id                 = data.aws_kms_alias.this.target_key_arn
  auto_minor_version_upgrade = true
  apply_immediately          = true
}

resource "aws_db_subnet_group" "database" {
  count      = var.database ? 1 : 0
  name       = var.names.postgres
  subnet_ids = data.aws_subnets.this["private"].ids
}

resource "aws_db_instance" "database" {
  count                           = var.database ? 1 : 0
  identifier                      = var.names.postgres
  engine                          = "postgres"
  engine_version                  = "17"
  instance_class                  = var.database_class
  allocated_storage               = 20
  max_allocated_storage           = 100
  storage_type                    = "gp3"
  storage_encrypted               = true
  kms_key_id                      = data.aws_kms_alias.this.target_key_arn
  db_name                         = var.database_snapshot == null ? "mlflow" : null # a snapshot has it
  username                        = var.database_snapshot == null ? "mlflow" : null
  password_wo                     = var.database_password # written and not kept in the state
  password_wo_version             = var.database_password == null ? null : 1
  db_subnet_group_name            = aws_db_subnet_group.database[0].name
  vpc_security_group_ids          = [aws_security_group.store["database"].id]
  publicly_accessible             = false
  multi_az                        = false
  backup_retention_period         = 7
  copy_tags_to_snapshot           = true
  auto_minor_version_upgrade      = true
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  snapshot_identifier             = var.database_snapshot
  deletion_protection             = false # pausing destroys it, and leaves:
  skip_final_snapshot             = false
  final_snapshot_identifier       = "${var.names.postgres}-${formatdate("YYYYMMDDhhmmss", timestamp())}" # one for every life of the database
  delete_automated_backups        = true                                                                 # that snapshot has what they have, and they would be paid for beside it

  lifecycle {
    # what only a resume knows: a plan at any other time changes nothing by it
    ignore_changes = [final_snapshot_identifier, snapshot_identifier, db_name, username, password_wo, password_wo_version]
  }
}

data "aws_sns_topic" "alarms" {
  name = var.names.topic
}

resource "aws_cloudwatch_metric_alarm" "cache" { # of every node: ElastiCache tells it of none but those
  count               = var.cache ? var.cache_nodes : 0
  alarm_name          = format("%s-cache-full-%03d", var.names.prefix, count.index + 1)
  alarm_description   = "The cache has used 90 % of its memory and will put answers out"
  namespace           = "AWS/ElastiCache"
  metric_name         = "DatabaseMemoryUsagePercentage"
  dimensions          = { CacheClusterId = format("%s-%03d", aws_elasticache_replication_group.cache[0].replication_group_id, count.index + 1) }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 90
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [data.aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "database" {
  count               = var.database ? 1 : 0
  alarm_name          = "${var.names.prefix}-database-space"
  alarm_description   = "MLflow's database has less than 2 GB left"
  namespace           = "AWS/RDS"
  metric_name         = "FreeStorageSpace"
  dimensions          = { DBInstanceIdentifier = aws_db_instance.database[0].identifier }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 2000000000
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [data.aws_sns_topic.alarms.arn]
}
