mock_provider "aws" {}

run "tables_are_as_the_trace_store_lays_them_out" {
  command = plan
  assert {
    condition     = alltrue([for table in aws_dynamodb_table.traces : table.hash_key == "pk" && table.range_key == "sk" && one(table.ttl).attribute_name == "ttl" && one(table.ttl).enabled])
    error_message = "serving/traces/dynamodb.py writes pk, sk and ttl."
  }
  assert {
    condition     = alltrue([for table in aws_dynamodb_table.traces : toset([for index in table.global_secondary_index : "${index.name} ${index.hash_key} ${index.range_key} ${index.projection_type}"]) == toset(["by_time everyone at ALL", "by_tenant tenant at ALL"])])
    error_message = "serving/traces/dynamodb.py reads the indexes by_time (everyone, at) and by_tenant (tenant, at)."
  }
  assert {
    condition     = alltrue([for table in aws_dynamodb_table.traces : table.deletion_protection_enabled && one(table.point_in_time_recovery).enabled])
    error_message = "What was answered is not lost by a slip."
  }
}

run "the_audit_trail_is_as_its_store_lays_it_out_and_is_not_lost" {
  command = plan
  assert {
    condition     = alltrue([for table in aws_dynamodb_table.audit : table.hash_key == "pk" && table.range_key == "sk" && one(table.ttl).attribute_name == "ttl" && one(table.ttl).enabled])
    error_message = "serving/audit/dynamodb.py writes pk, sk and ttl."
  }
  assert {
    condition     = alltrue([for table in aws_dynamodb_table.audit : table.deletion_protection_enabled && one(table.point_in_time_recovery).enabled && one(table.server_side_encryption).enabled])
    error_message = "Who did what is not lost by a slip, and lies below our key."
  }
}

run "images_cannot_be_replaced_and_are_scanned" {
  command = plan
  assert {
    condition     = alltrue([for one in aws_ecr_repository.this : one.image_tag_mutability == "IMMUTABLE" && one.image_scanning_configuration[0].scan_on_push])
    error_message = "An image keeps its name for good, and is scanned when it comes."
  }
}

run "an_image_that_a_channel_runs_does_not_expire_by_its_own_signatures" {
  command = plan
  assert {
    condition     = alltrue([for one in aws_ecr_lifecycle_policy.this : alltrue([for rule in jsondecode(one.policy).rules : rule.selection.tagStatus != "any"])])
    error_message = "A rule on any image counts signatures and attestations with the images."
  }
  assert {
    condition     = alltrue([for one in aws_ecr_lifecycle_policy.this : [for rule in jsondecode(one.policy).rules : rule.selection.countNumber if try(rule.selection.tagPatternList == ["made-*"], false)][0] >= 100])
    error_message = "A hundred of the images that build.sh names are kept."
  }
  assert {
    condition     = alltrue([for one in aws_ecr_lifecycle_policy.this : [for rule in jsondecode(one.policy).rules : rule.selection.countNumber if try(rule.selection.tagPatternList == ["sha256-*"], false)][0] >= 2 * 100])
    error_message = "A signature and an attestation of every image that is kept are kept too."
  }
}

run "the_key_changes_by_itself" {
  command = plan
  assert {
    condition     = aws_kms_key.this.enable_key_rotation
    error_message = "The key is rotated."
  }
}

run "logs_end" {
  command = plan
  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.this : group.retention_in_days == var.log_days])
    error_message = "Every log group has a retention."
  }
}

run "the_budget_tells_before_it_is_spent" {
  command = plan
  assert {
    condition     = contains([for one in aws_budgets_budget.month.notification : one.threshold], 80)
    error_message = "At 80 % somebody is told."
  }
}

run "days_that_cloudwatch_does_not_know_are_refused" {
  command = plan
  variables {
    log_days = 45
  }
  expect_failures = [var.log_days]
}

run "one_zone_is_too_few" {
  command = plan
  variables {
    zones = ["us-east-1a"]
  }
  expect_failures = [var.zones]
}

run "who_is_told_has_an_address" {
  command = plan
  variables {
    alarm_emails = ["you"]
  }
  expect_failures = [var.alarm_emails]
}

run "a_budget_of_nothing_is_refused" {
  command = plan
  variables {
    usd_a_month = 0
  }
  expect_failures = [var.usd_a_month]
}
