package peer

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/bench/router/engine"
)

// Names of the peers in tables.
const (
	NameDirect     = "direct"
	NameNginx      = "nginx"
	NameVLLMRouter = "vllm-router"
	NameSidecar    = "pd-sidecar"
	NameOurs       = "pd-router"
)

// Direct is a client that makes both legs itself: no router at all.
func Direct() Peer { return Peer{Name: NameDirect, Version: "a client that makes both legs itself"} }

// Nginx is Debian's nginx as a plain proxy to one leg: the floor. It fails
// where there is none.
func Nginx() (Peer, error) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return Peer{}, fmt.Errorf("nginx: not found; install the Debian package nginx-light")
		}
	}
	out, err := exec.Command(bin, "-v").CombinedOutput()
	if err != nil {
		return Peer{}, fmt.Errorf("nginx -v: %w", err)
	}
	_, version, _ := strings.Cut(strings.TrimSpace(string(out)), "nginx/")
	return Peer{Name: NameNginx, Version: version, Plain: true,
		command: func(port int, at engine.Addresses, dir string) ([]string, error) {
			conf := filepath.Join(dir, "nginx.conf")
			text := fmt.Sprintf(nginxConf, runtime.NumCPU(), at.Plain, port)
			if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
				return nil, err
			}
			return []string{bin, "-p", dir, "-e", "error.log", "-c", conf}, nil
		}}, nil
}

// nginxConf is what one writes for streams: no buffering of answers, bodies
// of requests in memory, connections kept on both sides.
const nginxConf = `daemon off;
user root;
pid nginx.pid;
error_log error.log warn;
worker_processes %d;
worker_rlimit_nofile 65536;
events { worker_connections 30000; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  client_body_buffer_size 1m;
  client_max_body_size 32m;
  keepalive_requests 1000000000;
  upstream decode { server %s; keepalive 1024; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:%d backlog=4096;
    location / {
      proxy_pass http://decode;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
`

// VLLMRouter is the Rust router from PyPI in an environment of its own, with
// its fastest policy.
func VLLMRouter(venv string) (Peer, error) {
	bin := filepath.Join(venv, "bin", "vllm-router")
	found, _ := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages", "vllm_router-*.dist-info"))
	if _, err := os.Stat(bin); err != nil || len(found) == 0 {
		return Peer{}, fmt.Errorf("vllm-router: not in %s; run scripts/bench-router/install.sh", venv)
	}
	version := regexp.MustCompile(`vllm_router-([^/]+)\.dist-info`).FindStringSubmatch(found[0])[1]
	return Peer{Name: NameVLLMRouter, Version: version + ", policy round_robin",
		command: func(port int, at engine.Addresses, _ string) ([]string, error) {
			metrics, err := freePort()
			if err != nil {
				return nil, err
			}
			argv := []string{bin, "--host", "127.0.0.1", "--port", strconv.Itoa(port), "--policy", "round_robin",
				"--log-level", "warning", "--prometheus-port", strconv.Itoa(metrics),
				"--worker-startup-check-interval", "1", "--vllm-pd-disaggregation"}
			for n := range at.Prefill {
				argv = append(argv, "--prefill", "http://"+at.Prefill[n], "--decode", "http://"+at.Decode[n])
			}
			return argv, nil
		}}, nil
}

// Sidecar is llm-d's pd-sidecar, where somebody has built one. It stands
// beside one decode, and the client names the prefill.
func Sidecar(bin string) (Peer, error) {
	if bin == "" {
		return Peer{}, fmt.Errorf("pd-sidecar: no binary given; -pd-sidecar FILE names one")
	}
	info, err := buildinfo.ReadFile(bin)
	if err != nil {
		return Peer{}, fmt.Errorf("pd-sidecar: %w", err)
	}
	return Peer{Name: NameSidecar, Version: built(info),
		header: func(at engine.Addresses) string { return "x-prefiller-host-port: " + at.Prefill[0] + "\r\n" },
		command: func(port int, at engine.Addresses, _ string) ([]string, error) {
			_, decode, _ := strings.Cut(at.Decode[0], ":")
			return []string{bin, "--port", strconv.Itoa(port), "--model-server-port", decode, "--secure-proxy=false",
				"--kv-connector", "nixlv2"}, nil
		}}, nil
}

// Ours is pd-router as shipped, but for its threshold: prompts as short as the
// benchmark's would not be worth a handoff, and two legs are what is measured.
// name tells several builds apart; one from before a flag goes without it.
func Ours(name, bin string) (Peer, error) {
	info, err := buildinfo.ReadFile(bin)
	if err != nil {
		return Peer{}, fmt.Errorf("%s: %w", name, err)
	}
	help, err := exec.Command(bin, "-h").CombinedOutput()
	if err != nil {
		return Peer{}, fmt.Errorf("%s -h: %w", bin, err)
	}
	has := func(flag string) bool { return bytes.Contains(help, []byte("\n  -"+flag+" ")) }
	return Peer{Name: name, Version: built(info), Profiled: has("admin"),
		command: func(port int, at engine.Addresses, _ string) ([]string, error) {
			argv := []string{bin, "-listen", "127.0.0.1:" + strconv.Itoa(port)}
			if has("admin") {
				argv = append(argv, "-admin", "127.0.0.1:0")
			}
			for n := range at.Prefill {
				argv = append(argv, "-prefill", "http://"+at.Prefill[n], "-decode", "http://"+at.Decode[n])
			}
			if has("local-below") {
				argv = append(argv, "-local-below", "0")
			}
			return argv, nil
		}}, nil
}

// built is the commit that a Go binary was built from.
func built(info *buildinfo.BuildInfo) string {
	commit, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ", with changes"
		}
	}
	return "commit " + commit + dirty + ", " + info.GoVersion
}
