// Package check finds out whether a worker with given settings could do its job
// here and now: it asks the broker and Aliyun, changes nothing, sends nothing, and
// says of each thing whether it is in order and how to fix it.
//
// One failure does not hide another. What can't be looked at because of an
// earlier one says so in one line, and names that one.
package check

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
)

// Status is how a [Result] stands.
type Status string

// The statuses. A worker can't do its job, or keep its promises, where something
// fails; a warning is for somebody to judge.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Result is what was found of one thing.
type Result struct {
	Status Status `json:"status"`
	Check  string `json:"check"`          // what was looked at: "stream"
	Name   string `json:"name,omitempty"` // which one, where there may be several: "PASSCODE"
	Detail string `json:"detail"`         // what was found
	Fix    string `json:"mend,omitempty"` // what to do about it
}

// The checks, in their order.
const (
	checkSettings    = "settings"
	checkBroker      = "broker"
	checkVersion     = "version"
	checkReplicas    = "replicas"
	checkRights      = "rights"
	checkStream      = "stream" // and "bucket", "consumer": the kinds of package broker
	checkEndpoint    = "endpoint"
	checkClock       = "clock"
	checkCredentials = "credentials"
	checkSignature   = "signature"
	checkTemplate    = "template"
)

// patience bounds each check.
const patience = 10 * time.Second

// Aliyun is what is asked of Aliyun; an [aliyun.Sender] answers it.
type Aliyun interface {
	Knock(ctx context.Context) (aliyun.Presence, error)
	ReviewSign(ctx context.Context, name string) (aliyun.SignReview, error)
	ReviewTemplate(ctx context.Context, code string) (aliyun.TemplateReview, error)
}

// Plan is what to check, and with what.
type Plan struct {
	// Config is the settings, and Problems what is wrong with them; nil: nothing.
	Config   config.Config
	Problems *config.Errors
	// Topology is what the settings want to be in JetStream.
	Topology broker.Topology
	// Dial connects to the broker as the worker does. Who calls it closes the
	// connection.
	Dial func(context.Context) (*nats.Conn, error)
	// Aliyun is asked with the settings' credentials. Where nil, AliyunErr says
	// why nobody can be asked.
	Aliyun    Aliyun
	AliyunErr error
	// UnusedID is a request id that nobody uses; see [broker.MissingPermissions].
	UnusedID string
}

// Run makes every check, in a fixed order, and reports each result as it comes.
// The error is ctx's where that ended the run.
func (p Plan) Run(ctx context.Context, report func(Result)) error {
	r := &run{Plan: p, ctx: ctx, report: report}
	r.settings()
	r.broker()
	r.service()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// run is one run of a plan.
type run struct {
	Plan
	ctx    context.Context
	report func(Result)

	clockFailed bool // the clock was reported to be off
}

// bounded returns a context for one check.
func (r *run) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(r.ctx, patience, fmt.Errorf("it took longer than %s", patience))
}

// add reports a result, unless the run was stopped: then what failed may have
// failed for that alone.
func (r *run) add(status Status, check, name, detail, fix string) {
	if r.ctx.Err() == nil {
		r.report(Result{Status: status, Check: check, Name: name, Detail: detail, Fix: fix})
	}
}

func (r *run) ok(check, name, detail string)        { r.add(OK, check, name, detail, "") }
func (r *run) warn(check, name, detail, fix string) { r.add(Warn, check, name, detail, fix) }
func (r *run) fail(check, name, detail, fix string) { r.add(Fail, check, name, detail, fix) }

// skip says that checks can't be made before another thing is fixed: one line
// for each kind, however many there are of it.
func (r *run) skip(see string, checks ...string) {
	for _, check := range checks {
		r.warn(check, "", "not checked: see "+see, "")
	}
}
