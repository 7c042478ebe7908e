resource "aws_sns_topic" "alarms" {
  name              = var.names.topic
  kms_master_key_id = aws_kms_key.this.arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AlarmsAndBudgets"
      Effect    = "Allow"
      Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"] }
      Action    = "sns:Publish"
      Resource  = "arn:aws:sns:${var.names.region}:${var.names.account}:${var.names.topic}"
      Condition = { StringEquals = { "aws:SourceAccount" = var.names.account } }
    }]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = toset(var.alarm_emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_budgets_budget" "month" {
  name         = var.names.budget
  budget_type  = "COST"
  limit_amount = tostring(var.usd_a_month)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = [["ACTUAL", 80], ["ACTUAL", 100], ["FORECASTED", 100]]
    content {
      notification_type         = notification.value[0]
      threshold                 = notification.value[1]
      threshold_type            = "PERCENTAGE"
      comparison_operator       = "GREATER_THAN"
      subscriber_sns_topic_arns = [aws_sns_topic.alarms.arn]
    }
  }
}

locals {
  bedrock_alarms = {
    throttled     = { metric = "InvocationThrottles", above = 20, says = "Bedrock throttles more than 20 calls in 5 minutes: docs/bedrock.md" }
    client_errors = { metric = "InvocationClientErrors", above = 20, says = "Bedrock refuses more than 20 calls in 5 minutes: a model, a right or a guardrail that is not there" }
    server_errors = { metric = "InvocationServerErrors", above = 5, says = "Bedrock fails more than 5 calls in 5 minutes" }
  }
}

resource "aws_cloudwatch_metric_alarm" "bedrock" {
  for_each            = local.bedrock_alarms
  alarm_name          = "${var.names.prefix}-bedrock-${each.key}"
  alarm_description   = each.value.says
  namespace           = "AWS/Bedrock"
  metric_name         = each.value.metric
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = each.value.above
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "audit" {
  for_each            = var.names.audit_tables
  alarm_name          = "${var.names.prefix}-audit-${each.key}-throttled"
  alarm_description   = "The table ${each.value} turns writes away: what has to stand in it first is refused"
  namespace           = "AWS/DynamoDB"
  metric_name         = "WriteThrottleEvents"
  dimensions          = { TableName = each.value }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "traces" {
  for_each            = var.names.tables
  alarm_name          = "${var.names.prefix}-traces-${each.key}-throttled"
  alarm_description   = "The table ${each.value} turns writes away: traces wait in memory, and then are lost"
  namespace           = "AWS/DynamoDB"
  metric_name         = "WriteThrottleEvents"
  dimensions          = { TableName = each.value }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}
