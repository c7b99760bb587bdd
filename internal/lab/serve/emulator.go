// Package serve has the command that serves the emulated Aliyun.
package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/fault"
)

// Cmd is "worker emulator".
type Cmd struct {
	Listen          string        `default:"127.0.0.1:9080" help:"Address to serve on; port 0 takes a free one."`
	AccessKeyID     string        `name:"access-key-id" help:"The one access key that is known (${default_key_id} where left out)." placeholder:"ID"`
	AccessKeySecret string        `name:"access-key-secret" help:"Its secret (${default_key_secret} where left out)." placeholder:"SECRET"`
	Latency         time.Duration `help:"How long each answer takes." placeholder:"50ms"`
	Limits          bool          `help:"Enforce Aliyun's own limits for each phone: 1 a minute, 5 an hour, 10 a day, 40 a day over all signatures."`
	MaxQPS          int           `name:"max-qps" help:"Throttle what exceeds so many sends a second." placeholder:"N"`
	Fault           []string      `sep:"none" placeholder:"SPEC" help:"A fault from the start; may be repeated. See below."`
	SignName        []string      `name:"sign-name" sep:"none" help:"An approved signature name; any where left out."`
	Filing          []string      `sep:"none" placeholder:"SPEC" help:"What a carrier has on file about every signature, for GetSmsSign: CARRIER=STATUS or CARRIER=STATUS:REASON, the carrier mobile, unicom or telecom. The status is 3 (filed) where left out, 2 lapsed, 1 filed and awaiting verification, 0 failed, -1 in progress, -2 not filed."`
	Template        []string      `sep:"none" placeholder:"CODE" help:"An approved template, CODE or CODE:variable:… ; any where left out. One that is not for passcodes has =notification, =promotion or =international behind it."`
	ClockOffset     time.Duration `name:"clock-offset" help:"How far the clock is ahead of this machine's, in the Date header and where signatures are checked; --clock-offset=-20m is behind." placeholder:"20m"`
	Keep            time.Duration `help:"Forget messages after so long; left out: never." placeholder:"10m"`
	LookupLag       time.Duration `name:"lookup-lag" help:"How long look-ups don't find a message." placeholder:"2s"`
	ReportURL       string        `name:"report-url" help:"Where delivery reports are pushed."`
}

// Help is the text below the flags.
func (*Cmd) Help() string {
	return "Faults, one SPEC each, also for POST /_/faults (one a line, or JSON):\n\n" + fault.Help +
		"\n\nAdministration: GET /_/sent (what was accepted, as JSON lines), GET /_/stats, POST /_/reset, GET, POST and DELETE /_/faults."
}

// Run serves until it is stopped.
func (c *Cmd) Run(e *command.Env) error {
	if (c.AccessKeyID == "") != (c.AccessKeySecret == "") {
		return command.Usagef("worker emulator: --access-key-id and --access-key-secret go together")
	}
	if c.Latency < 0 || c.LookupLag < 0 || c.MaxQPS < 0 {
		return command.Usagef("worker emulator: --latency, --lookup-lag and --max-qps must not be negative")
	}
	em, err := emulator.New(emulator.Options{
		AccessKeyID: c.AccessKeyID, AccessKeySecret: c.AccessKeySecret,
		Latency: c.Latency, Limits: c.Limits, MaxQPS: c.MaxQPS, Faults: c.Fault,
		SignNames: c.SignName, Filings: c.Filing, Templates: c.Template,
		LookupLag: c.LookupLag, Keep: c.Keep, ReportURL: c.ReportURL,
		Now:    func() time.Time { return time.Now().Add(c.ClockOffset) },
		Logger: slog.New(slog.NewTextHandler(e.Stderr, nil)),
	})
	if err != nil {
		return command.Usagef("worker emulator: --%w", err) // it begins with the option
	}
	defer em.Close()

	listener, err := (&net.ListenConfig{}).Listen(e.Stop, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	show.Say(e.Stderr, "listening on http://%s", listener.Addr())
	return serve(e.Stop, em, listener)
}

// closeTimeout bounds how long the requests in progress may take at the end.
const closeTimeout = 5 * time.Second

// serve serves until ctx ends, then lets the requests in progress go.
func serve(ctx context.Context, em *emulator.Emulator, listener net.Listener) error {
	server := &http.Server{Handler: em, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	em.Close() // ends the requests that hang on purpose
	bounded, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := server.Shutdown(bounded); err != nil {
		_ = server.Close() // what is left hangs on a client that doesn't read
	}
	<-failed
	return nil
}
