variable "name" {
  description = "Begins the name of everything that is made: stream, log group, roles."
  type        = string
  default     = "flowstitch"
}

variable "vpc_ids" {
  description = "The VPCs whose traffic is logged. Each gets a flow log of its own."
  type        = set(string)
}

variable "aggregation_interval" {
  description = "Seconds that a flow log record covers at most: 60, or 600 at a tenth of the volume and ten minutes later. Set logs.interval of ingest to the same."
  type        = number
  default     = 60

  validation {
    condition     = contains([60, 600], var.aggregation_interval)
    error_message = "AWS has 60 and 600 seconds."
  }
}

variable "shard_count" {
  description = "Shards of the stream; null lets AWS scale it (on-demand). A shard takes 1 MiB/s, which is about 10 MB/s of flow log lines, since CloudWatch compresses them."
  type        = number
  default     = null
}

variable "retention_hours" {
  description = "How long the stream keeps records: the longest outage that loses nothing."
  type        = number
  default     = 72
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps the lines. They have passed on to the stream, so a day is enough."
  type        = number
  default     = 1
}

variable "kms_key_arn" {
  description = "A key of your own for the stream; null takes the one that AWS manages."
  type        = string
  default     = null
}

variable "oidc_provider_arn" {
  description = "The OIDC provider of the EKS cluster that ingest runs in (IRSA); null makes no role for it, only the policy."
  type        = string
  default     = null
}

variable "service_account" {
  description = "Namespace and service account of ingest."
  type        = string
  default     = "flowstitch:ingest"
}

variable "fan_out" {
  description = "Whether ingest reads by enhanced fan-out and so needs the rights for it."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
