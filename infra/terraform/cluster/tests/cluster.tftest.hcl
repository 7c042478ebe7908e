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

variables {
  database_password = "of-a-test"
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

run "every_service_account_has_its_role" {
  command = plan
  assert {
    condition     = length(aws_eks_pod_identity_association.this) == length(var.names.service_accounts)
    error_message = "A service account of infra/names.yaml has no association."
  }
}

run "workflows_change_the_channels_namespaces_only" {
  command = plan
  assert {
    condition     = alltrue([for one in aws_eks_access_policy_association.deploy : one(one.access_scope).type == "namespace"])
    error_message = "A role of workflows reaches beyond the channels."
  }
  assert {
    condition     = toset(one(aws_eks_access_policy_association.deploy["deploy"].access_scope).namespaces) == toset([var.names.namespaces.dev, var.names.namespaces.staging])
    error_message = "The role that nobody's approval stands before reaches prod, or not dev and staging."
  }
  assert {
    condition     = toset(one(aws_eks_access_policy_association.deploy["deploy_prod"].access_scope).namespaces) == toset([var.names.namespaces.prod])
    error_message = "The role behind prod's approval is for prod alone."
  }
}

run "the_database_leaves_a_snapshot" {
  command = plan
  assert {
    condition     = !aws_db_instance.database[0].skip_final_snapshot && !aws_db_instance.database[0].publicly_accessible && aws_db_instance.database[0].storage_encrypted
    error_message = "A pause would lose MLflow's runs, or anyone could read them."
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
    condition     = length(aws_elasticache_replication_group.cache) == 0 && length(aws_db_instance.database) == 0 && length(aws_security_group.store) == 0 && output.cache == ""
    error_message = "A switched-off store left something."
  }
}
