output "stream_name" {
  description = "kinesis.streams[].stream of ingest."
  value       = aws_kinesis_stream.flows.name
}

output "stream_arn" {
  description = "The stream, for readers in another account."
  value       = aws_kinesis_stream.flows.arn
}

output "log_format" {
  description = "logs.format of ingest."
  value       = local.log_format
}

output "reader_policy_arn" {
  description = "Attach it to whatever ingest runs as."
  value       = aws_iam_policy.reader.arn
}

output "reader_role_arn" {
  description = "Annotate ingest's service account with it: eks.amazonaws.com/role-arn. Null without an OIDC provider."
  value       = one(aws_iam_role.reader[*].arn)
}
