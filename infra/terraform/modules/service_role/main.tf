# A role that one AWS service, one set of pods or one workflow takes on, with one policy of its own and any of AWS's.
variable "name" { type = string }
variable "trust" {
  type        = any
  description = "statements of who may take it on"
}
variable "statements" {
  type        = any
  default     = []
  description = "statements of what it may do"
}
variable "managed" {
  type        = set(string)
  default     = []
  description = "ARNs of policies that AWS keeps"
}
variable "hours" {
  type        = number
  default     = 1
  description = "how long a session lasts"
}

resource "aws_iam_role" "this" {
  name                 = var.name
  max_session_duration = var.hours * 3600
  assume_role_policy   = jsonencode({ Version = "2012-10-17", Statement = var.trust })
}

resource "aws_iam_role_policy" "this" {
  count  = length(var.statements) == 0 ? 0 : 1
  name   = "own"
  role   = aws_iam_role.this.name
  policy = jsonencode({ Version = "2012-10-17", Statement = var.statements })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each   = var.managed
  role       = aws_iam_role.this.name
  policy_arn = each.value
}

output "name" { value = aws_iam_role.this.name }
output "arn" { value = aws_iam_role.this.arn }
