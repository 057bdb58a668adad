package driver_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// engineEnv makes this binary behave as an engine of the kind that it names.
const engineEnv = "TEST_ENGINE"

// engine is a stand-in for vLLM as far as a supervisor can tell: processes,
// signals, exit codes, output.
func engine(behaviour, arg string) int {
	terms := make(chan os.Signal, 4)
	signal.Notify(terms, syscall.SIGTERM)
	switch behaviour {
	case "serve": // until asked to stop
		fmt.Println("args", strings.Join(os.Args[1:], " "))
		say("ready")
		<-terms
		fmt.Println("draining")
		return 0
	case "story": // as vLLM tells its start; the rest when told to go on
		fmt.Fprint(os.Stderr, "\rLoading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]\r",
			"\rLoading safetensors checkpoint shards: 100% Completed | 4/4 [00:01<00:00,  1.50it/s]\n")
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		say("loaded")
		<-c
		fmt.Println("INFO 11-23 10:20:14 [kv_cache_utils.py:2328] GPU KV cache size: 262,144 tokens")
		<-c
		fmt.Fprintln(os.Stderr, "INFO:     Application startup complete.")
		<-terms
		return 0
	case "fail": // as the captured log of that name shows
		log, err := os.ReadFile(filepath.Join(os.Getenv("TEST_NOTES"), "log"))
		if err != nil {
			panic(err)
		}
		fmt.Fprint(os.Stderr, string(log), strings.Repeat("    a long traceback follows\n", 100))
		return 1
	case "broken": // says what the captured log does, and goes on
		log, err := os.ReadFile(filepath.Join(os.Getenv("TEST_NOTES"), "log"))
		if err != nil {
			panic(err)
		}
		fmt.Fprint(os.Stderr, string(log))
		<-terms
		return 0
	case "exit":
		fmt.Fprintln(os.Stderr, "ValueError: no good")
		code, _ := strconv.Atoi(arg)
		return code
	case "stubborn": // hangs in its shutdown, as real ones do
		say("ready")
		select {}
	case "hang":
		select {}
	case "tree": // with children, one of which has left the session and its parent
		child("hang", "child")
		child("orphan", "")
		say("ready")
		<-terms
		return 0
	case "orphan":
		cmd := self("hang", "")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		note("orphan", cmd.Process.Pid)
		return 0
	case "core": // an API server and its engine core, which must hear the signal too
		cmd := self("tell", "core")
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		<-terms
		_ = cmd.Wait()
		return 0
	case "tell":
		say("ready")
		<-terms
		say("got-term")
		return 0
	case "usr1":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		say("ready")
		<-c
		say("got-usr1")
		<-terms
		return 0
	case "chatty": // more than any pipe holds
		n, _ := strconv.Atoi(arg)
		line := strings.Repeat("x", 1023) + "\n"
		for range n {
			fmt.Print(line)
		}
		say("said-it-all")
		<-terms
		return 0
	case "copy": // what a file says when the engine starts
		b, err := os.ReadFile(arg)
		if err != nil {
			panic(err)
		}
		pid, _ := strconv.Atoi(string(b))
		note("seen", pid)
		return 0
	case "busy":
		ballast := make([]byte, 64<<20)
		for i := range ballast {
			ballast[i] = byte(i)
		}
		say("ready")
		for len(terms) == 0 {
			ballast[len(ballast)/2]++
		}
		return int(ballast[0])
	default:
		return hungryEngine(behaviour, arg, terms)
	}
}

func self(behaviour, arg string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), engineEnv+"="+behaviour+":"+arg)
	return cmd
}

func child(behaviour, name string) {
	cmd := self(behaviour, name)
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	if name != "" {
		note(name, cmd.Process.Pid)
		return
	}
	_ = cmd.Wait()
}

// say and note leave files in the task's directory for the test to find.
func say(what string) { note(what, os.Getpid()) }

func note(name string, pid int) {
	path := filepath.Join(os.Getenv("TEST_NOTES"), name)
	if err := os.WriteFile(path+".tmp", []byte(strconv.Itoa(pid)), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		panic(err)
	}
}
