// Package system starts, watches and stops a whole system on this machine: a broker, an
// emulated Aliyun and workers.
package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
)

const (
	startWithin = 30 * time.Second // each part
	// brokerStop bounds the broker's end, which took more than five seconds with a
	// million records on a busy machine.
	brokerStop = time.Minute
	keep       = 64 << 10 // bytes of a process's output
)

// Options say what system to start.
type Options struct {
	Name    string   // the command that starts it
	Dir     string   // where it makes its folder; empty: where temporary files are
	Environ []string // of the processes; PASSCODE_ variables don't count
	// Settings are the workers'. Addresses, account, signature and templates are the system's own.
	Settings config.Config
	Emulator []string  // further arguments of "worker emulator"
	Log      io.Writer // gets the output of all processes; may be nil
}

// System is a broker in this process, and an emulator and workers in processes of their own.
type System struct {
	JS       jetstream.JetStream
	Settings config.Config // the workers'
	NATS     string        // the broker's URL
	Emulator *Process
	Admin    Admin // the emulator's

	options   Options
	dir       string
	embedded  *broker.Embedded
	processes []*Process // in the order of their start
}

// Worker is a worker of a system.
type Worker struct {
	*Process
	HTTP string // where /metrics is, host:port
}

// Start starts a system without workers. It ends with Stop.
func Start(ctx context.Context, o Options) (*System, error) {
	dir, err := os.MkdirTemp(o.Dir, "passcode-"+o.Name+"-")
	if err != nil {
		return nil, err
	}
	s := &System{options: o, dir: dir}
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("the system did not start within %s", startWithin))
	defer cancel()
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *System) open(ctx context.Context) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	s.embedded, err = broker.StartEmbedded("127.0.0.1:0", filepath.Join(s.dir, "nats"), quiet)
	if err != nil {
		return err
	}
	s.NATS = s.embedded.URL()
	if s.Emulator, err = s.start(append([]string{"emulator", "--listen", "127.0.0.1:0"}, s.options.Emulator...)...); err != nil {
		return err
	}
	if s.Admin, err = Listening(ctx, s.Emulator); err != nil {
		return err
	}
	s.Settings = ownSettings(s.options.Settings, s.NATS, s.Admin.Endpoint())
	s.JS, err = app.Dial(ctx, s.Settings.NATS, s.options.Name, broker.CommandInbox, quiet)
	if err != nil {
		return err
	}
	if err := broker.WaitConnected(ctx, s.JS.Conn()); err != nil {
		return err
	}
	// Streams are made before the workers come, so that these don't meet over it.
	if _, err := broker.Provision(ctx, s.JS, s.Settings, ratelimit.BucketTTL(s.Settings.Limits.Phone), true); err != nil {
		return err
	}
	// The workers look for this name in their folder.
	file, err := os.Create(filepath.Join(s.dir, "worker.yaml"))
	if err != nil {
		return err
	}
	return errors.Join(config.Print(file, s.Settings), file.Close())
}

// ownSettings lets workers reach only the system's own broker and emulator, whatever the given settings name.
func ownSettings(given config.Config, natsURL, endpoint string) config.Config {
	cfg := config.Default()
	cfg.Worker, cfg.Retry, cfg.Limits.Phone = given.Worker, given.Retry, given.Limits.Phone
	cfg.Jobs.MaxBytes, cfg.Results.Retention = given.Jobs.MaxBytes, given.Results.Retention
	cfg.NATS.URL = config.NewServerURLs(natsURL)
	a, g := &cfg.Aliyun, given.Aliyun
	a.ConnectTimeout, a.Timeout, a.MaxQPS, a.InDoubt = g.ConnectTimeout, g.Timeout, g.MaxQPS, g.InDoubt
	a.Endpoint, a.Protocol, a.SignName = endpoint, "http", "Emulator"
	a.Templates = []domain.Template{
		{UsageType: "Generic", TemplateCode: domain.TemplateCode{China: "SMS_100000001", Overseas: "SMS_100000001"}},
		{UsageType: "SignIn", TemplateCode: domain.TemplateCode{China: "SMS_100000002", Overseas: "SMS_100000003"}},
	}
	cfg.HTTP.Listen = "127.0.0.1:0"
	return cfg
}

// start starts this very program with other arguments, in the system's folder.
func (s *System) start(args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the worker's own program: %w", err)
	}
	p, err := StartProcess(Command{
		Path: self, Args: args, Dir: s.dir, Keep: keep, Log: s.options.Log,
		Env: append(withoutSettings(s.options.Environ),
			"PASSCODE_ALIYUN__ACCESS_KEY_ID="+emulator.DefaultAccessKeyID,
			"PASSCODE_ALIYUN__ACCESS_KEY_SECRET="+emulator.DefaultAccessKeySecret),
	})
	if err != nil {
		return nil, fmt.Errorf("start worker %s: %w", args[0], err)
	}
	s.processes = append(s.processes, p)
	return p, nil
}

// withoutSettings is an environment without anybody's settings.
func withoutSettings(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return strings.HasPrefix(v, "PASSCODE_") })
}

// StartWorker starts a worker, and returns when it takes jobs.
func (s *System) StartWorker(ctx context.Context) (*Worker, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("the worker was not ready within %s", startWithin))
	defer cancel()
	p, err := s.start("run")
	if err != nil {
		return nil, err
	}
	_, address, err := p.WaitFor(ctx, `"msg":"HTTP listens"`, `"address":"`)
	if err != nil {
		return nil, err
	}
	_, _, err = p.WaitFor(ctx, `"msg":"ready"`)
	return &Worker{Process: p, HTTP: address}, err
}

// Kill ends a worker as a crash does. Ended does not report it.
func (s *System) Kill(w *Worker) {
	w.Kill()
	s.processes = slices.DeleteFunc(s.processes, func(p *Process) bool { return p == w.Process })
}

// Ended is the error of the first process that has ended by itself.
func (s *System) Ended() error {
	for _, p := range s.processes {
		if err := p.Ended(); err != nil {
			return err
		}
	}
	return nil
}

// Stop takes the system down, the last started first, and removes its folder.
func (s *System) Stop() error {
	for _, p := range slices.Backward(s.processes) {
		p.Stop()
	}
	if s.JS != nil {
		s.JS.Conn().Close()
	}
	var err error
	if s.embedded != nil {
		ctx, cancel := context.WithTimeoutCause(context.Background(), brokerStop, fmt.Errorf("took longer than %s", brokerStop))
		defer cancel()
		err = s.embedded.Stop(ctx)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
