module "guardrail" { # rendered from experiments/guards/techcorp.yaml
  source = "../modules/guardrail"
}
