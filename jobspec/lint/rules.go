package lint

// Rule is one kind of mistake.
type Rule struct {
	ID    string // stable: people filter by it
	What  string // one line for `nomad-vllm job lint -help`
	check func(*job, *reporter)
}

// Rules lists every rule, the one of Nomad's own parser included.
func Rules() []Rule {
	return append([]Rule{{ID: ruleNomad, What: "the file is not a valid Nomad job"}}, rules()...)
}

// rules are those that look at the job, in the order of the reference.
func rules() []Rule {
	return []Rule{
		{"config-key", "a key that the task driver does not know", checkConfigKeys},
		{"model", "a server without a model", checkModel},
		{"runtime", "a runtime beside a command, or without a constraint", checkRuntime},
		{"role", "a role that there is not", checkRole},
		{"kv-transfer", "a prefill or decode without kv_transfer", checkKVTransfer},
		{"connector", "a KV connector that vLLM or the driver does not have", checkConnector},
		{"port-label", "a port label that the group's network does not have", checkPortLabels},
		{"network-mode", "a network that the driver's servers cannot listen in", checkNetworkMode},
		{"owned-arg", "a vLLM argument that the driver writes itself", checkOwnedArgs},
		{"gpu-count", "not as many GPUs as vLLM's parallel sizes use", checkGPUCount},
		{"engine-env", "an environment variable that breaks the handoff", checkEngineEnv},
		{"service", "a server that Consul does not hear of", checkService},
		{"router-service", "a router that watches another service than the servers'", checkRouterService},
		{"role-tag", "a pd.role tag that is missing or contradicts the role", checkRoleTag},
		{"service-port", "a service on another port than the server", checkServicePort},
		{"health-check", "no HTTP check on /health", checkHealth},
		{"service-meta", "pd_* meta that is missing or wrong", checkMeta},
		{"compat", "prefill and decode that cannot be paired", checkCompat},
		{"lone-role", "a prefill without any decode, or the reverse", checkLoneRole},
		{"kill-timeout", "a server that is killed before it has drained", checkKillTimeout},
		{"shutdown-delay", "a server that stops before the router knows", checkShutdownDelay},
		{"update-deadline", "deadlines shorter than a model load", checkDeadlines},
		{"check-restart", "a health check that restarts servers while they load", checkRestart},
		{"scaling-bounds", "count outside of scaling's min and max", checkScalingBounds},
		{"scaling-query", "an autoscaler query about another group", checkScalingQuery},
		{"scaling-strategy", "a strategy setting that the autoscaler refuses", checkScalingStrategy},
		{"scaling-check-name", "two checks of one name, of which one is lost", checkScalingNames},
	}
}
