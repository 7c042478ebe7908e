# Rendered from a guard policy; change the policy, and render it again.

resource "aws_bedrock_guardrail" "this" {
  name                      = "TechCorp-DocIntelligence-Guardrails"
  description               = "What the assistant for TechCorp's documents neither reads nor says"
  blocked_input_messaging   = "I cannot help with that. I answer questions about TechCorp's documents."
  blocked_outputs_messaging = "I cannot help with that. I answer questions about TechCorp's documents."

  content_policy_config {

    filters_config {
      type            = "HATE"
      input_strength  = "HIGH"
      output_strength = "HIGH"
    }

    filters_config {
      type            = "INSULTS"
      input_strength  = "HIGH"
      output_strength = "HIGH"
    }

    filters_config {
      type            = "SEXUAL"
      input_strength  = "HIGH"
      output_strength = "HIGH"
    }

    filters_config {
      type            = "VIOLENCE"
      input_strength  = "MEDIUM"
      output_strength = "HIGH"
    }
  }

  sensitive_information_policy_config {

    pii_entities_config {
      type   = "EMAIL"
      action = "ANONYMIZE"
    }

    pii_entities_config {
      type   = "PHONE"
      action = "ANONYMIZE"
    }

    pii_entities_config {
      type   = "US_SOCIAL_SECURITY_NUMBER"
      action = "BLOCK"
    }

    pii_entities_config {
      type   = "CREDIT_DEBIT_CARD_NUMBER"
      action = "BLOCK"
    }
  }

  topic_policy_config {

    topics_config {
      name       = "Legal Advice"
      definition = "Providing specific legal recommendations or interpretations"
      examples   = ["Should I sue my employer?", "Do I have a case, and should I hire a lawyer?", "Would a judge find this clause enforceable?", "What are my legal rights against my landlord?", "Should I settle or go to court?"]
      type       = "DENY"
    }

    topics_config {
      name       = "Financial Advice"
      definition = "Recommending specific financial decisions"
      examples   = ["Should I invest my savings in shares?", "Which stocks or funds should I buy now?", "Should I take out a loan or a mortgage?", "How should I invest for my retirement?", "Is it a good time to buy a house?"]
      type       = "DENY"
    }
  }
}

resource "aws_bedrock_guardrail_version" "this" {
  guardrail_arn = aws_bedrock_guardrail.this.guardrail_arn
  description   = "What the assistant for TechCorp's documents neither reads nor says"
  skip_destroy  = true # a release may still name it
}

output "guardrail" {
  value = {
    guardrail = aws_bedrock_guardrail.this.guardrail_id
    version   = aws_bedrock_guardrail_version.this.version
  }
}
