package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/hashicorp/cli"
	"github.com/posener/complete"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

// renderCommand is `nomad-vllm job render`.
type renderCommand struct {
	ui  cli.Ui
	in  io.Reader // what "-" reads
	out io.Writer // where the job file goes without -o
}

func (c *renderCommand) Synopsis() string {
	return "Make a Nomad job file from a short description of a service"
}

func (c *renderCommand) Help() string {
	return strings.TrimSpace(`
Usage: nomad-vllm job render [options] FILE

  Reads a description of a prefill/decode service and prints the Nomad job file
  that runs it, with comments on what to change for your cluster. FILE may be -
  for standard input. The shortest description is

    service "pd" {
      model = "meta-llama/Llama-3.1-8B-Instruct"
      prefill { count = 1 }
      decode  { count = 1 }
    }

  What else it may say, with the defaults:

    service "pd" {
      compat         = "v1"            # servers pair only if equal
      datacenters    = ["*"]
      consul_service = "vllm"          # Consul name of the servers
      connector      = "NixlConnector"
      engine_args    = []              # vLLM arguments of both roles

      prefill {                        # and decode
        max        = 0                 # most servers; default count
        gpus       = 1                 # for each server
        gpu_memory = ""                # least for each GPU, such as "79 GiB"
        cpu        = 4000              # MHz for each server
        memory     = 32768             # MiB of host memory for each server
        args       = []                # vLLM arguments of this role
      }

      router {
        port    = 8000
        service = "pd-router"          # Consul name of the router
        cpu     = 1000
        memory  = 512
      }

      timeouts {
        load  = "10m"                  # start of a server to its first good check
        drain = "20s"                  # how long a stopping server goes on writing
        lease = ""                     # how long a prefill keeps KV for a decode; vLLM's 30s
      }
    }

Options:

  -o=FILE  Write to FILE in place of standard output.
  -force   Overwrite FILE if it exists.

Exit codes: 0 success, 1 the description is wrong or the job file cannot be
written, 2 wrong usage or a description that cannot be read.
`)
}

func (c *renderCommand) AutocompleteArgs() complete.Predictor { return complete.PredictFiles("*.hcl") }

func (c *renderCommand) AutocompleteFlags() complete.Flags {
	return complete.Flags{"-o": complete.PredictFiles("*.hcl"), "-force": complete.PredictNothing}
}

func (c *renderCommand) Run(args []string) int {
	flags := jobFlags("job render")
	to := flags.String("o", "", "")
	force := flags.Bool("force", false, "")
	if code, done := parseFiles(c.ui, flags, c.Help(), args, 1); done {
		return code
	}
	name, src, err := readFile("service description", flags.Arg(0), c.in)
	if err != nil {
		c.ui.Error("nomad-vllm job render: " + err.Error())
		return 2
	}
	out, err := render(name, src)
	if err != nil {
		c.ui.Error(err.Error())
		return 1
	}
	if *to == "" {
		_, err = c.out.Write(out)
	} else {
		err = writeJob(*to, out, *force)
	}
	if err != nil {
		c.ui.Error(err.Error())
		return 1
	}
	return 0
}

func render(name string, src []byte) ([]byte, error) {
	service, err := jobspec.ParseService(name, src)
	if err != nil {
		return nil, err
	}
	return jobspec.Render(service)
}

// writeJob creates the file; one that is there may hold somebody's changes.
func writeJob(path string, job []byte, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; choose another -o, or overwrite it with -force", path)
	}
	if err != nil {
		return fmt.Errorf("write job file: %w", err)
	}
	_, err = f.Write(job)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write job file: %w", err)
	}
	return nil
}
