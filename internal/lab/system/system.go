// Package system starts, watches and stops a whole system on this machine: a broker, an
// emulated Aliyun and workers.
package system

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
)

const (
	startWithin = 30 * time.Second // each part
	keep        = 64 << 10         // bytes of a process's output
)

// Options say what system to start.
type Options struct {
	Name    string   // the command that starts it
	Dir     string   // where it makes its folder; empty: where temporary files are
	Environ []string // of the processes; PASSCODE_ variables don't count
	// Settings are the workers'. Addresses, account, signature and templates are the system's own.
	Settings config.Config
	// Against has the system use the broker of Settings.NATS, with streams, buckets and subjects of its own there.
	Against  bool
	Emulator []string  // further arguments of "worker emulator"
	Log      io.Writer // gets the output of all processes; may be nil
}

// System is a broker, an emulator and workers, each in a process of its own.
type System struct {
	JS       jetstream.JetStream
	Settings config.Config // the workers'
	NATS     string        // the URL of its own broker
	Broker   *Process      // nil if it is another's
	Emulator *Process
	Admin    Admin // the emulator's

	options   Options
	dir       string
	made      bool       // streams on another's broker
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
	if !s.options.Against {
		if s.Broker, err = s.start(BrokerCommand, filepath.Join(s.dir, "nats")); err != nil {
			return err
		}
		if _, s.NATS, err = s.Broker.WaitFor(ctx, "listening on "); err != nil {
			return err
		}
	}
	if s.Emulator, err = s.start(append([]string{"emulator", "--listen", "127.0.0.1:0"}, s.options.Emulator...)...); err != nil {
		return err
	}
	if s.Admin, err = Listening(ctx, s.Emulator); err != nil {
		return err
	}
	s.Settings = ownSettings(s.options.Settings, s.NATS, s.Admin.Endpoint())
	if s.options.Against {
		// No long numbers, which errors would mask.
		settleApart(&s.Settings, s.options.Settings.NATS, "passcode-"+s.options.Name+"-"+rand.Text()[:8])
	}
	s.JS, err = app.Dial(ctx, s.Settings.NATS, s.options.Name, broker.CommandInbox, quiet)
	if err != nil {
		return err
	}
	if err := broker.WaitConnected(ctx, s.JS.Conn()); err != nil {
		return err
	}
	if s.options.Against {
		if err := broker.CheckServer(s.JS.Conn()); err != nil {
			return err
		}
		// There is nothing to remove yet: this asks whether it will be allowed.
		if err := s.remove(ctx); err != nil {
			return fmt.Errorf("nothing was created on the broker, where it could not be removed again: %w", err)
		}
		s.made = true
	}
	// Streams are made before the workers come, so that these don't meet over it.
	if _, err := broker.Provision(ctx, s.JS, s.Settings, ratelimit.BucketTTL(s.Settings.Limits.Phone), true); err != nil {
		return err
	}
	file, err := os.Create(s.settingsFile())
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

// settleApart has the system use another's broker. All that it has there bears its name, which no other system has.
func settleApart(cfg *config.Config, nats config.NATS, name string) {
	cfg.NATS = nats
	cfg.Jobs.Stream, cfg.Jobs.Subject = name, name+".send"
	cfg.Results.Bucket, cfg.Results.Subject = name+"-requests", name+".result"
	cfg.DeadLetters.Stream, cfg.DeadLetters.Subject = name+"-dead", name+".dead"
	cfg.Limits.Bucket = name + "-limits"
}

// remove removes the system's streams and buckets from another's broker, as far as they are there.
func (s *System) remove(ctx context.Context) error {
	for _, item := range broker.Items(s.Settings, 0) {
		bounded, cancel := command.Bounded(ctx)
		err := s.JS.DeleteStream(bounded, item.Stream) // which takes the consumer with it
		err = cmp.Or(context.Cause(bounded), err)
		cancel()
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove stream %s: %w (is JetStream enabled, and may this user publish to $JS.API.STREAM.DELETE.%s?)",
				item.Stream, err, item.Stream)
		}
	}
	return nil
}

func (s *System) settingsFile() string { return filepath.Join(s.dir, "worker.yaml") }

// start starts this very program with other arguments.
func (s *System) start(args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the worker's own program: %w", err)
	}
	cmd := exec.Command(self, args...) //nolint:gosec,noctx // our own program; it is stopped by signal, in order
	// The settings file masks secrets, so these come in the environment.
	cmd.Env = append(withoutSettings(s.options.Environ), config.EnvFile+"="+s.settingsFile(),
		"PASSCODE_NATS__URL="+s.Settings.NATS.URL.Reveal(),
		"PASSCODE_NATS__PASSWORD="+s.Settings.NATS.Password.Reveal(),
		"PASSCODE_NATS__TOKEN="+s.Settings.NATS.Token.Reveal(),
		"PASSCODE_ALIYUN__ACCESS_KEY_ID="+emulator.DefaultAccessKeyID,
		"PASSCODE_ALIYUN__ACCESS_KEY_SECRET="+emulator.DefaultAccessKeySecret)
	p, err := StartProcess(cmd, keep, s.options.Log)
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
	var err error
	if s.made {
		err = s.remove(context.Background())
	}
	if s.JS != nil {
		s.JS.Conn().Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
