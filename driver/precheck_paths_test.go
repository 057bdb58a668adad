package driver

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

func settings(paths []wantedPath) (out []string) {
	for _, p := range paths {
		s := p.Setting + " " + p.Path
		if p.Maybe {
			s += "?"
		}
		out = append(out, s)
	}
	return out
}

func TestPaths_areThoseThatTheSettingsName(t *testing.T) {
	for name, c := range map[string]struct {
		model string
		args  []string
		env   map[string]string
		want  []string
	}{
		"a name may be a directory": {model: "org/name", want: []string{"model org/name?"}},
		"an absolute model":         {model: "/models/x", want: []string{"model /models/x"}},
		"a relative one":            {model: "./x", want: []string{"model ./x"}},
		"a deep one":                {model: "local/models/x", want: []string{"model local/models/x"}},
		"a file in a repository":    {model: "org/name/x.gguf", want: []string{"model org/name/x.gguf?"}},
		"a store's":                 {model: "s3://bucket/x"},
		"files": {args: []string{"--ssl-keyfile=/k", "--ssl_certfile", "/c", "--ssl-ca", "/ca", "--log-config-file", "l.json", "--allowed-local-media-path=/media", "--config", "c.yaml"},
			want: []string{"args: --config c.yaml", "args: --ssl-keyfile /k", "args: --ssl-certfile /c", "args: --ssl-ca-certs /ca", "args: --log-config-file l.json", "args: --allowed-local-media-path /media"}},
		"the last one counts":                    {args: []string{"--config=a.yaml", "--config=b.yaml"}, want: []string{"args: --config b.yaml"}},
		"a template":                             {args: []string{"--chat-template", "local/t.jinja"}, want: []string{"args: --chat-template local/t.jinja"}},
		"a template of vLLM's":                   {args: []string{"--chat-template", "template_chatml.jinja"}, want: []string{"args: --chat-template template_chatml.jinja?"}},
		"a template written out":                 {args: []string{"--chat-template", "{{ messages }}"}},
		"another flag that begins the same":      {args: []string{"--chat-template-content-format", "/x"}},
		"names of parsers":                       {args: []string{"--tool-parser-plugin=acme.parsers"}},
		"files of parsers":                       {args: []string{"--tool-parser-plugin=/p.py", "--reasoning-parser-plugin=r.py"}, want: []string{"args: --tool-parser-plugin /p.py", "args: --reasoning-parser-plugin r.py"}},
		"a tokenizer":                            {args: []string{"--tokenizer=/t", "--tokenizer-mode", "/no"}, want: []string{"args: --tokenizer /t"}},
		"a generation config":                    {args: []string{"--generation-config=vllm"}, want: []string{"args: --generation-config vllm?"}},
		"adapters":                               {args: []string{"--lora-modules", "a=/a", `{"name": "b", "path": "/b"}`, "c=org/c", "--seed", "1"}, want: []string{"args: --lora-modules /a", "args: --lora-modules /b", "args: --lora-modules org/c?"}},
		"a draft model":                          {args: []string{"--speculative-config", `{"model": "/draft", "num_speculative_tokens": 3}`}, want: []string{"args: --speculative-config /draft"}},
		"a draft model's settings":               {args: []string{"--speculative-config.num_speculative_tokens", "3"}},
		"environment":                            {env: map[string]string{"MOONCAKE_CONFIG_PATH": "/m.json", "VLLM_TUNED_CONFIG_FOLDER": "/t", "OTHER": "/o"}, want: []string{"env MOONCAKE_CONFIG_PATH /m.json", "env VLLM_TUNED_CONFIG_FOLDER /t"}},
		"a flag without its value, or with \"\"": {args: []string{"--ssl-ca-certs", "", "--config"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := good(func(s *situation) {
				if s.Task.Args, s.Env = c.args, c.env; c.model != "" {
					s.Task.Model = c.model
				}
			})
			p, err := newPlan(s)
			require.NoError(t, err)
			got := settings(p.Wants.Paths)
			if c.model == "" {
				got = got[1:]
			}
			require.ElementsMatch(t, c.want, got)
		})
	}
}

func TestPaths_filesOfTheDriverAreNotLookedFor(t *testing.T) {
	for _, s := range goldenCases() {
		p, err := newPlan(s)
		require.NoError(t, err)
		require.Len(t, p.Wants.Paths, 1, "the model")
	}
}

// model writes a directory that vLLM would take for one.
func model(t *testing.T, elem ...string) string {
	dir := filepath.Join(elem...)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, f := range []string{"config.json", "model.safetensors", ".gitattributes"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, f), nil, 0o644))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "original"), 0o700))
	return dir
}

// openDir is a temporary directory that every user may search.
func openDir(t *testing.T) string {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	return dir
}

func TestCheckPaths_sayWhatIsMissingAndToWhom(t *testing.T) {
	u := someone(t) // not root, so that what is not allowed is not allowed
	who := `user "nobody"`
	dir := openDir(t)
	good := model(t, dir, "good")
	shut := model(t, dir, "private", "model")
	require.NoError(t, os.Chmod(filepath.Dir(shut), 0o700))
	require.NoError(t, os.Symlink(shut, filepath.Join(dir, "link")))
	unreadable := model(t, dir, "weights")
	require.NoError(t, os.Chmod(filepath.Join(unreadable, "model.safetensors"), 0))
	dangling := model(t, dir, "snapshot")
	require.NoError(t, os.Symlink("../blobs/none", filepath.Join(dangling, "model-2.safetensors")))
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	if u == nil { // without root one cannot be somebody else, but be shut out by oneself
		require.NoError(t, os.Chmod(filepath.Dir(shut), 0))
		t.Cleanup(func() { _ = os.Chmod(filepath.Dir(shut), 0o700) })
		who = "the agent's user"
	}
	name := map[bool]string{true: "", false: "nobody"}[u == nil]
	exe, err := filepath.EvalSymlinks("/bin/sh")
	require.NoError(t, err)
	for _, c := range []struct {
		path  wantedPath
		want  []string
		again bool
	}{
		{path: wantedPath{Setting: "model", Path: good, Model: true}},
		{path: wantedPath{Setting: "model", Path: "good", Maybe: true, Model: true}},
		{path: wantedPath{Setting: "model", Path: "org/name", Maybe: true, Model: true}},
		{path: wantedPath{Setting: "args: --tokenizer", Path: empty}},
		{path: wantedPath{Setting: "args: --config", Path: filepath.Join(dir, "fifo")}}, // must not wait for a writer
		{path: wantedPath{Setting: "model", Path: dir + "/no"}, want: []string{`model "` + dir + `/no": there is no ` + dir + `/no on this node; bring it with an artifact`}},
		{path: wantedPath{Setting: "args: --config", Path: "c.yaml"}, want: []string{`args: --config "c.yaml": there is no ` + dir + `/c.yaml on this node`}},
		{path: wantedPath{Setting: "model", Path: good + "/config.json/x"}, want: []string{"there is no "}},
		{path: wantedPath{Setting: "model", Path: empty, Model: true}, want: []string{`model "` + empty + `": there is no config.json (nor Mistral's params.json) in it; name the directory that holds the weights`}},
		{path: wantedPath{Setting: "model", Path: dangling, Model: true}, want: []string{"there is no " + dangling + "/model-2.safetensors on this node"}},
		{path: wantedPath{Setting: "model", Path: shut, Model: true}, want: []string{`model "` + shut + `": ` + who, "may not read it, because it may not search " + dir + "/private (d", "; give that user access (chmod, setfacl), or run the task as another one"}},
		{path: wantedPath{Setting: "model", Path: dir + "/link", Model: true}, want: []string{"because it may not search " + dir + "/private"}},
		{path: wantedPath{Setting: "model", Path: unreadable, Model: true}, want: []string{"may not read it, because it may not read or execute " + unreadable + "/model.safetensors (----------, user "}},
	} {
		t.Run(c.path.Setting+c.path.Path, func(t *testing.T) {
			err := newProber().checkPaths([]wantedPath{c.path}, shim.Spec{User: u, WorkDir: dir, Path: exe}, name)
			if c.want == nil {
				require.NoError(t, err)
			}
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestCheckPaths_accessListsCount(t *testing.T) {
	u := someone(t)
	if u == nil {
		u = &shim.Credential{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	}
	dir := openDir(t)
	path := filepath.Join(dir, "t.jinja")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	// user::rw-, user:<u>:r--, group::---, mask::r--, other::---
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 4, u.UID}, {4, 0, ^uint32(0)}, {0x10, 4, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[0]))
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[1]))
		acl = binary.LittleEndian.AppendUint32(acl, e[2])
	}
	check := func() error {
		spec := shim.Spec{WorkDir: dir, Path: "/bin/sh"}
		if os.Getuid() == 0 {
			spec.User = u
		}
		return newProber().checkPaths([]wantedPath{{Setting: "args: --chat-template", Path: path}}, spec, "nobody")
	}
	if os.Getuid() == 0 {
		require.ErrorContains(t, check(), "may not read it")
	}
	if err := unix.Setxattr(path, "system.posix_acl_access", acl, 0); !errors.Is(err, unix.ENOTSUP) {
		require.NoError(t, err)
		require.NoError(t, check(), "the list lets this user in, though the mode's bits say nothing of it")
	}
}

func TestCheckPaths_aFileSystemThatHangsIsNotWaitedFor(t *testing.T) {
	p := newProber()
	p.fileLimit = time.Nanosecond
	dir := model(t, t.TempDir(), "m")
	err := errors.New("none yet")
	require.Eventually(t, func() bool { // a quick disk may answer within a nanosecond's timer
		err = p.checkPaths([]wantedPath{{Setting: "model", Path: dir, Model: true}}, shim.Spec{}, "")
		return err != nil
	}, 10*time.Second, time.Millisecond)
	require.ErrorContains(t, err, "its file system has not answered for 1ns; is the server that it is mounted from reachable?")
	require.True(t, configError(err).(*startError).IsRecoverable())
}

func TestCheckPaths_theTasksUserMustBeAbleToExecuteTheEngine(t *testing.T) {
	dir := openDir(t)
	path := install(t, dir, "private", "vllm")
	u := someone(t)
	if u == nil {
		require.NoError(t, newProber().checkPaths(nil, shim.Spec{Path: path}, ""), "whoever runs the agent has found it executable")
		return
	}
	require.NoError(t, newProber().checkPaths(nil, shim.Spec{Path: path, User: u}, "nobody"))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o700))
	require.ErrorContains(t, newProber().checkPaths(nil, shim.Spec{Path: path, User: u}, "nobody"),
		`command: user "nobody" may not execute `+path+`, because it may not search `+dir+`/private (drwx------, user 0, group 0)`)
}
