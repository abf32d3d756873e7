# From a VPC to a Kinesis stream that Flowstitch reads: flow log, log group,
# subscription, stream, and the rights of each step. Flow logs cannot be sent to
# Kinesis Data Streams directly; CloudWatch Logs stands between.

locals {
  # Every field that Flowstitch uses. The order is free, and it may not be changed
  # later without making the flow log anew: AWS has no way to edit a format.
  log_format = join(" ", [
    "$${version}", "$${account-id}", "$${interface-id}", "$${srcaddr}", "$${dstaddr}", "$${srcport}", "$${dstport}",
    "$${protocol}", "$${packets}", "$${bytes}", "$${start}", "$${end}", "$${action}", "$${log-status}", "$${vpc-id}",
    "$${subnet-id}", "$${instance-id}", "$${tcp-flags}", "$${pkt-srcaddr}", "$${pkt-dstaddr}", "$${region}",
    "$${pkt-src-aws-service}", "$${pkt-dst-aws-service}", "$${flow-direction}", "$${traffic-path}", "$${reject-reason}",
    "$${resource-id}",
  ])
}

data "aws_caller_identity" "current" {}

resource "aws_kinesis_stream" "flows" {
  name             = "${var.name}-vpc-flow-logs"
  shard_count      = var.shard_count
  retention_period = var.retention_hours
  encryption_type  = "KMS"
  kms_key_id       = coalesce(var.kms_key_arn, "alias/aws/kinesis")
  tags             = var.tags

  stream_mode_details {
    stream_mode = var.shard_count == null ? "ON_DEMAND" : "PROVISIONED"
  }
}

resource "aws_cloudwatch_log_group" "flows" {
  name              = "/flowstitch/${var.name}/vpc-flow-logs"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

# The flow log writes into the log group.

data "aws_iam_policy_document" "flow_log_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_iam_policy_document" "flow_log" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.flows.arn}:*"]
  }

  statement {
    actions   = ["logs:DescribeLogGroups"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "flow_log" {
  name               = "${var.name}-flow-log"
  assume_role_policy = data.aws_iam_policy_document.flow_log_trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "flow_log" {
  name   = "write"
  role   = aws_iam_role.flow_log.id
  policy = data.aws_iam_policy_document.flow_log.json
}

resource "aws_flow_log" "vpc" {
  for_each = var.vpc_ids

  vpc_id                   = each.value
  traffic_type             = "ALL"
  log_destination_type     = "cloud-watch-logs"
  log_destination          = aws_cloudwatch_log_group.flows.arn
  iam_role_arn             = aws_iam_role.flow_log.arn
  log_format               = local.log_format
  max_aggregation_interval = var.aggregation_interval
  tags                     = merge(var.tags, { Name = "${var.name}-${each.value}" })
}

# CloudWatch Logs puts the lines into the stream.

data "aws_iam_policy_document" "subscription_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_iam_policy_document" "subscription" {
  statement {
    actions   = ["kinesis:PutRecord", "kinesis:PutRecords"]
    resources = [aws_kinesis_stream.flows.arn]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      actions   = ["kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "subscription" {
  name               = "${var.name}-subscription"
  assume_role_policy = data.aws_iam_policy_document.subscription_trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "subscription" {
  name   = "put"
  role   = aws_iam_role.subscription.id
  policy = data.aws_iam_policy_document.subscription.json
}

resource "aws_cloudwatch_log_subscription_filter" "flows" {
  name            = var.name
  log_group_name  = aws_cloudwatch_log_group.flows.name
  filter_pattern  = ""
  destination_arn = aws_kinesis_stream.flows.arn
  role_arn        = aws_iam_role.subscription.arn
  # By log stream, the default, all lines of an interface go to one shard, and a
  # busy interface makes a hot one. Flowstitch needs no order across records.
  distribution = "Random"

  depends_on = [aws_iam_role_policy.subscription]
}
