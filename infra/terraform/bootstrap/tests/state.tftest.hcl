mock_provider "aws" {}

run "the_state_is_versioned_and_private" {
  command = plan
  assert {
    condition     = module.state.name == var.names.state_bucket
    error_message = "The bucket is not the one that backend.hcl of the other layers names."
  }
}
