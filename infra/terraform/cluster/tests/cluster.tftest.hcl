mock_provider "aws" {
  override_data {
    target = data.aws_subnets.this
    values = { ids = ["subnet-1", "subnet-2"] }
  }
  override_data {
    target = data.aws_kms_alias.this
    values = { target_key_arn = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555" }
  }
  override_data {
    target = data.aws_sns_topic.alarms
    values = { arn = "arn:aws:sns:us-east-1:000000000000:touchstone-alarms" }
  }
}

variables { # over those of terraform.tfvars: what is tried is the layer, whatever an account has chosen
  database_password = "of-a-test"
  api_cidrs         = []
  admins            = []
  cache             = true
  cache_nodes       = 2
  database          = true
}


run "its_api_is_closed_unless_networks_are_named" {
  command = plan
  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "Without api_cidrs the cluster is reached from inside only."
  }
  assert {
    condition     = aws_eks_cluster.this.compute_config[0].enabled && aws_eks_cluster.this.storage_config[0].block_storage[0].enabled && aws_eks_cluster.this.kubernetes_network_config[0].elastic_load_balancing[0].enabled
    error_message = "Auto Mode wants all three of them, or none."
  }
}

run "it_is_not_opened_to_everyone" {
  command = plan
  variables {
    api_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.api_cidrs]
}

run "nor_by_halves" {
  command = plan
  variables {
    api_cidrs = ["0.0.0.0/1", "128.0.0.0/1"]
  }
  expect_failures = [var.api_cidrs]
}

run "a_session_is_no_administrator" {
  command = plan
  variables {
    admins = ["arn:aws:sts::000000000000:assumed-role/Admin/me"]
  }
  expect_failures = [var.admins]
}

run "every_service_account_has_its_role" {
  command = plan
  assert {
    condition     = length(aws_eks_pod_identity_association.this) == length(var.names.service_accounts)
    error_message = "A service account of infra/names.yaml has no association."
  }
}

run "what_pods_read_from_their_environment_comes_by_the_add_on" {
  command = plan
  assert {
    condition     = strcontains(aws_eks_addon.this["aws-secrets-store-csi-driver-provider"].configuration_values, "\"syncSecret\":{\"enabled\":true}")
    error_message = "Without syncSecret no pod starts: TOUCHSTONE_REDIS and MLflow's database are secrets of Kubernetes."
  }
}

run "the_resolver_is_where_the_network_policies_look_for_it" {
  command = plan
  assert {
    condition     = aws_eks_cluster.this.kubernetes_network_config[0].service_ipv4_cidr == "172.20.0.0/16"
    error_message = "infra/kubernetes names 172.20.0.10."
  }
}

run "every_node_of_the_cache_is_watched" {
  command = plan
  variables {
    cache_nodes = 3
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.cache) == 3 && endswith(aws_cloudwatch_metric_alarm.cache[2].alarm_name, "-003")
    error_message = "ElastiCache tells of its memory by node."
  }
}

run "each_channel_is_a_user_of_the_cache_with_its_own_keys_and_nobody_else_is_let_in" {
  command = plan
  assert {
    condition = alltrue([for channel, user in aws_elasticache_user.channel :
      user.user_id == var.names.namespaces[channel] && user.user_name == user.user_id && user.engine == "valkey" &&
      user.authentication_mode[0].type == "iam" && startswith(user.access_string, "on ~${var.names.namespaces[channel]}:* -@all +")
    ])
    error_message = "A user of the cache signs in by IAM, is named like its namespace, and reaches that namespace's keys alone."
  }
  assert {
    condition     = toset(aws_elasticache_user_group.cache[0].user_ids) == toset(values(var.names.namespaces))
    error_message = "The cache lets in the channels and nobody else."
  }
  assert {
    condition     = toset(aws_elasticache_replication_group.cache[0].user_group_ids) == toset([var.names.cache]) && aws_elasticache_replication_group.cache[0].transit_encryption_enabled
    error_message = "The cache has no group of users, or tokens would come to it in the clear."
  }
}

run "workflows_change_the_channels_namespaces_only" {
  command = plan
  assert {
    condition     = alltrue([for channel, one in aws_eks_access_policy_association.deploy : endswith(one.policy_arn, "/AmazonEKSEditPolicy") && one.access_scope[0].type == "namespace" && toset(one.access_scope[0].namespaces) == toset([var.names.namespaces[channel]])])
    error_message = "The role of a channel's workflows reaches beyond its namespace."
  }
}

run "the_database_leaves_a_snapshot" {
  command = plan
  assert {
    condition     = !aws_db_instance.database[0].skip_final_snapshot && !aws_db_instance.database[0].publicly_accessible && aws_db_instance.database[0].storage_encrypted
    error_message = "A pause would lose MLflow's runs, or anyone could read them."
  }
  assert {
    condition     = aws_db_instance.database[0].password == null
    error_message = "The password stays in the state: it is written by password_wo, which keeps nothing."
  }
}

run "from_a_snapshot_it_comes_back" {
  command = plan
  variables {
    database_snapshot = "touchstone-mlflow-20260101000000"
  }
  assert {
    condition     = aws_db_instance.database[0].snapshot_identifier == "touchstone-mlflow-20260101000000"
    error_message = "The snapshot that resume names is not what the database comes from."
  }
}

run "stores_can_be_left_out" {
  command = plan
  variables {
    cache    = false
    database = false
  }
  assert {
    condition     = length(aws_elasticache_replication_group.cache) == 0 && length(aws_elasticache_user.channel) == 0 && length(aws_elasticache_user_group.cache) == 0 && length(aws_db_instance.database) == 0 && length(aws_security_group.store) == 0 && output.cache == ""
    error_message = "A switched-off store left something."
  }
}
