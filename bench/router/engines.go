package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/nomad-vllm/nomad-vllm/bench/router/engine"
)

// engines is the process with the mock prefills and decodes.
type engines struct {
	at  engine.Addresses
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// engineArg makes this executable play the engines.
const engineArg = "engines"

func startEngines(n int) (*engines, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &engines{cmd: exec.Command(self, engineArg, strconv.Itoa(n))}
	e.cmd.Stderr = os.Stderr
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	e.out = bufio.NewReader(out)
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the engines: %w", err)
	}
	if err := e.read(&e.at); err != nil {
		e.stop()
		return nil, fmt.Errorf("start the engines: %w", err)
	}
	return e, nil
}

func (e *engines) read(into any) error {
	line, err := e.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

// ask sends a command and returns what the engines have counted.
func (e *engines) ask(command string) (engine.Counts, error) {
	var c engine.Counts
	if _, err := io.WriteString(e.in, command+"\n"); err != nil {
		return c, fmt.Errorf("tell the engines to %s: %w", command, err)
	}
	if err := e.read(&c); err != nil {
		return c, fmt.Errorf("tell the engines to %s: %w", command, err)
	}
	return c, nil
}

// Held is how many streams the engines hold.
func (e *engines) Held() (int, error) {
	c, err := e.ask("counts")
	return c.Held, err
}

// Release lets them speak.
func (e *engines) Release() error {
	_, err := e.ask("release")
	return err
}

// stop ends the process: it leaves when its input ends.
func (e *engines) stop() {
	_ = e.in.Close()
	_ = e.cmd.Wait()
}
