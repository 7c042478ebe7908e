terraform {
  required_version = ">= 1.11" # state is locked by a file in its bucket, and a password is written and not kept
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }
}

provider "aws" {
  region              = var.names.region
  allowed_account_ids = [var.names.account]
  default_tags {
    tags = { Project = var.names.prefix, Layer = "bootstrap" }
  }
}
