package driver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCommandLine_hidesSecrets(t *testing.T) {
	env := map[string]string{"HF_TOKEN": "hf_abcdef", "VAULT_TOKEN": "hf_abcdef.longer", "PIN_PASSWORD": "1234"}
	for want, argv := range map[string][]string{
		"vllm serve m --api-key <redacted> <redacted> --seed 1":                    {"vllm", "serve", "m", "--api-key", "a", "b", "--seed", "1"},
		"vllm --api-key=<redacted>":                                                {"vllm", "--api-key=a"},
		"vllm --api_key <redacted>":                                                {"vllm", "--api_key", "a"},
		"vllm --hf-token <redacted>":                                               {"vllm", "--hf-token", "a"},
		"vllm --tokenizer t --max-num-batched-tokens 9":                            {"vllm", "--tokenizer", "t", "--max-num-batched-tokens", "9"},
		`vllm --x '{"a":1}' 'it'\''s'`:                                             {"vllm", "--x", `{"a":1}`, "it's"},
		"vllm --api-k <redacted> --seed 1":                                         {"vllm", "--api-k", "a", "--seed", "1"},
		"vllm --hf_t=<redacted>":                                                   {"vllm", "--hf_t=a"},
		"vllm --additional-config.a.b.api_key=<redacted>":                          {"vllm", "--additional-config.a.b.api_key=a"},
		"vllm '--x=a<redacted>b' 1234":                                             {"vllm", "--x=ahf_abcdefb", "1234"},
		"vllm <redacted>":                                                          {"vllm", "hf_abcdef.longer"},
		"vllm --x 'redis://me:<redacted>@h:1/0'":                                   {"vllm", "--x", "redis://me:pw@h:1/0"},
		`vllm --x '{"extra":[{"api_key":"<redacted>","n":12345678901234567890}]}'`: {"vllm", "--x", `{"extra": [{"api_key": "a", "n": 12345678901234567890}]}`},
		`vllm '--x={"password":"<redacted>"}'`:                                     {"vllm", `--x={"password": ["a"]}`},
		`vllm --x '{"eos": "</s>", "tokens": 1}'`:                                  {"vllm", "--x", `{"eos": "</s>", "tokens": 1}`},
		"vllm --max-num-batched-tokens=9 --num-tokens 8":                           {"vllm", "--max-num-batched-tokens=9", "--num-tokens", "8"},
		"vllm --ssl-keyfile-password <redacted>":                                   {"vllm", "--ssl-keyfile-password", "a"},
	} {
		require.Equal(t, want, commandLine(argv, env))
	}
}
