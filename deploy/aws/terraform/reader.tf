# What ingest may do, and nothing else. ../iam/reader-policy.json is the same for
# those who do not use Terraform.

data "aws_iam_policy_document" "reader" {
  statement {
    sid       = "ReadTheStream"
    actions   = ["kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"]
    resources = [aws_kinesis_stream.flows.arn]
  }

  dynamic "statement" {
    for_each = var.fan_out ? [1] : []

    content {
      sid       = "OnlyForEnhancedFanOut"
      actions   = ["kinesis:DescribeStreamConsumer", "kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"]
      resources = [aws_kinesis_stream.flows.arn, "${aws_kinesis_stream.flows.arn}/consumer/*"]
    }
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "OnlyForAKeyOfYourOwn"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_policy" "reader" {
  name   = "${var.name}-reader"
  policy = data.aws_iam_policy_document.reader.json
  tags   = var.tags
}

locals {
  oidc_issuer = var.oidc_provider_arn == null ? "" : split(":oidc-provider/", var.oidc_provider_arn)[1]
}

data "aws_iam_policy_document" "reader_trust" {
  count = var.oidc_provider_arn == null ? 0 : 1

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_issuer}:sub"
      values   = ["system:serviceaccount:${var.service_account}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "reader" {
  count = var.oidc_provider_arn == null ? 0 : 1

  name               = "${var.name}-ingest"
  assume_role_policy = data.aws_iam_policy_document.reader_trust[0].json
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "reader" {
  count = var.oidc_provider_arn == null ? 0 : 1

  role       = aws_iam_role.reader[0].name
  policy_arn = aws_iam_policy.reader.arn
}
