# Made from infra/names.yaml by `make infra-names`; change it there.
bucket       = "touchstone-state-000000000000"
key          = "cluster.tfstate"
region       = "us-east-1"
encrypt      = true
use_lockfile = true
