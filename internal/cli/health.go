package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

const healthTimeout = 5 * time.Second

// healthCmd is for a container that has no shell and no curl.
type healthCmd struct {
	Live bool `help:"Ask only whether the process serves, not whether it is ready."`
	PID  int  `name:"pid" placeholder:"PID" help:"Fail where another process than this one answers, such as a second worker with the same http.listen."`
}

func (h *healthCmd) Run(e *command.Env) error {
	cfg, err := e.Settings(false)
	if err != nil {
		return err
	}
	if cfg.HTTP.Listen == "" {
		return command.Usagef("http.listen is empty, so a worker with these settings can't be asked")
	}
	path := "/readyz"
	if h.Live {
		path = "/livez"
	}
	ctx, cancel := context.WithTimeoutCause(e.Stop, healthTimeout, fmt.Errorf("no answer within %s", healthTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+dialable(cfg.HTTP.Listen)+path, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no worker answers at %s", cfg.HTTP.Listen)
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return err
	}
	worker := cmp.Or(response.Header.Get(telemetry.WorkerHeader), "without a name")
	if h.PID != 0 && !strings.HasSuffix(worker, "-"+strconv.Itoa(h.PID)) {
		return fmt.Errorf("worker %s answers at %s, not process %d: give each worker its own http.listen", worker, cfg.HTTP.Listen, h.PID)
	}
	show.Lines(e.Stdout, string(body))
	e.Note("worker %s answers at %s", worker, cfg.HTTP.Listen)
	if response.StatusCode != http.StatusOK {
		return command.ErrSaid
	}
	return nil
}

// dialable turns a listen address, which may be any, into one that can be called.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
