"""Make a tiny Llama-shaped model with random weights: 4 layers, 0.7 million parameters.

    model.py DIR

The weights are drawn here, once, with a fixed seed, and saved. Random, so that the text depends on
every token of the prompt: the near-zero weights of vLLM's own dummy loader give the same answer
whatever the KV cache holds, and would hide a handoff that delivered the wrong one.
"""

import json
import pathlib
import re
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<pad>"]
CONTEXT = 2048
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "dtype": "float32",
    "bos_token_id": SPECIAL.index("<s>"),
    "eos_token_id": SPECIAL.index("</s>"),
    "pad_token_id": SPECIAL.index("<pad>"),
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "A prefill server reads the whole prompt at once and keeps its keys and values in blocks of a cache.",
    "A decode server fetches those blocks over the network and writes the answer, one token at a time.",
    "The router picks one of each for every request, and the scheduler starts more when the queue grows.",
    "Explain the benefits, please: long prompts no longer delay the tokens of other people's answers.",
    "system user assistant hello world, how are you today? yes, no, one two three four five six seven eight.",
    "When load falls, servers stop; when it grows, they start again, near the data and close to the people.",
    "Memory and speed cost time and money, so good plans share both, and small steps often win over big ones.",
]


def tokenizer():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=640, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tok.train_from_iterator(CORPUS * 10, trainer)
    return tok


def speakable(tok):
    """The tokens that greedy decoding may choose: whole words of the corpus, so that the gibberish can be read."""
    words = {" " + w for w in re.findall(r"[a-z]{2,}|\ba\b", " ".join(CORPUS).lower())} | {",", "."}
    return [t for t in range(len(SPECIAL), tok.get_vocab_size()) if tok.decode([t]) in words]


def weights(tok):
    gen = torch.Generator().manual_seed(7)
    hidden, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    queries = CONFIG["num_attention_heads"] * CONFIG["head_dim"]
    keys = CONFIG["num_key_value_heads"] * CONFIG["head_dim"]
    vocab = tok.get_vocab_size()

    def linear(rows, cols, scale=1.0):
        return torch.randn(rows, cols, generator=gen) * scale / cols**0.5

    out = {
        "model.embed_tokens.weight": torch.randn(vocab, hidden, generator=gen),
        "model.norm.weight": torch.ones(hidden),
        "lm_head.weight": linear(vocab, hidden, 4.0),
    }
    silent = torch.ones(vocab, dtype=torch.bool)
    silent[speakable(tok)] = False
    out["lm_head.weight"][silent] = 0
    for i in range(CONFIG["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        out[layer + "input_layernorm.weight"] = torch.ones(hidden)
        out[layer + "post_attention_layernorm.weight"] = torch.ones(hidden)
        # Attention is made to weigh as much as the rest, or the prompt would hardly reach the answer.
        out[layer + "self_attn.q_proj.weight"] = linear(queries, hidden, 2.0)
        out[layer + "self_attn.k_proj.weight"] = linear(keys, hidden, 2.0)
        out[layer + "self_attn.v_proj.weight"] = linear(keys, hidden, 2.0)
        out[layer + "self_attn.o_proj.weight"] = linear(hidden, queries, 2.0)
        out[layer + "mlp.gate_proj.weight"] = linear(inner, hidden)
        out[layer + "mlp.up_proj.weight"] = linear(inner, hidden)
        out[layer + "mlp.down_proj.weight"] = linear(hidden, inner)
    return out


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    tok = tokenizer()
    tok.save(str(out / "tokenizer.json"))
    write(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
        "model_max_length": CONTEXT, "clean_up_tokenization_spaces": False, "chat_template": TEMPLATE,
    })
    write(out / "config.json", {**CONFIG, "vocab_size": tok.get_vocab_size()})
    write(out / "generation_config.json", {k: v for k, v in CONFIG.items() if k.endswith("_token_id")})
    params = weights(tok)
    save_file(params, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # a Nomad task may run as another user
    print(f"{sum(p.numel() for p in params.values())} parameters, vocabulary {tok.get_vocab_size()}")


def write(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


main()
