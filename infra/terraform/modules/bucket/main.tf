# A private bucket: versions, encryption, no public access, TLS only, and what becomes of old objects.
variable "name" { type = string }
variable "key_arn" {
  type        = string
  default     = null
  description = "KMS key; none: S3's own keys, which is all that access logs can be written with"
}
variable "log_bucket" {
  type        = string
  default     = null
  description = "where accesses are logged"
}
variable "archive_after_days" {
  type        = number
  default     = null
  description = "current objects become Glacier Instant Retrieval: read as before, at a price per GB"
}
variable "expire_after_days" {
  type    = number
  default = null
}
variable "old_versions_archive_after_days" {
  type    = number
  default = null
}
variable "old_versions_expire_after_days" {
  type    = number
  default = 90
}
variable "statements" {
  type        = list(any)
  default     = []
  description = "further statements of the bucket's policy"
}

resource "aws_s3_bucket" "this" {
  bucket        = var.name
  force_destroy = false
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    bucket_key_enabled = var.key_arn != null
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket     = aws_s3_bucket.this.id
  depends_on = [aws_s3_bucket_public_access_block.this]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([{
      Sid       = "OnlyOverTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::${var.name}", "arn:aws:s3:::${var.name}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }], var.statements)
  })
}

resource "aws_s3_bucket_logging" "this" {
  count         = var.log_bucket == null ? 0 : 1
  bucket        = aws_s3_bucket.this.id
  target_bucket = var.log_bucket
  target_prefix = "${var.name}/"
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket     = aws_s3_bucket.this.id
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    dynamic "noncurrent_version_transition" {
      for_each = var.old_versions_archive_after_days[*]
      content {
        noncurrent_days = noncurrent_version_transition.value
        storage_class   = "GLACIER_IR"
      }
    }
    noncurrent_version_expiration {
      noncurrent_days = var.old_versions_expire_after_days
    }
    expiration {
      expired_object_delete_marker = true # the mark of what was removed goes with its last version, or listings grow slow
    }
  }

  dynamic "rule" {
    for_each = var.archive_after_days[*]
    content {
      id     = "archive"
      status = "Enabled"
      filter {
        object_size_greater_than = 131072 # smaller ones are billed as 128 KB there
      }
      transition {
        days          = rule.value
        storage_class = "GLACIER_IR"
      }
    }
  }

  dynamic "rule" {
    for_each = var.expire_after_days[*]
    content {
      id     = "expire"
      status = "Enabled"
      filter {}
      expiration {
        days = rule.value
      }
    }
  }
}

output "name" { value = aws_s3_bucket.this.bucket }
output "arn" { value = "arn:aws:s3:::${var.name}" }
