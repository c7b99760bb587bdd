package check

import (
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/broker"
)

// itemKeys are the settings that name an item.
var itemKeys = map[broker.Role][]string{
	broker.Results:  {"results.bucket"},
	broker.Limits:   {"limits.bucket"},
	broker.Dead:     {"dead_letters.stream"},
	broker.Jobs:     {"jobs.stream"},
	broker.Consumer: {"jobs.stream", "jobs.consumer"},
}

// items compares each stream, bucket and consumer with the settings.
func (r *run) items(nc *nats.Conn, missing []broker.Right) {
	js, err := jetstream.New(nc)
	if err != nil { // an option contradicts another, and there are none
		r.fail(checkStream, "", err.Error(), "")
		return
	}
	see := "" // why the next items are not checked: no answer, or no stream for the consumer
	for _, item := range broker.Items(r.Config, r.LimitsTTL) {
		check := string(item.Kind)
		skipped := see
		switch {
		case skipped != "":
		case !r.Problems.Usable(itemKeys[item.Role]...):
			skipped = checkSettings
		case hinder(missing, item.Request()):
			skipped = checkRights
		}
		if skipped != "" {
			r.warn(check, item.Name, "not checked: see "+skipped, "")
			continue
		}
		err := item.Inspect(r.ctx, js)
		switch {
		case err != nil:
			r.fail(check, item.Name, err.Error(), "see that JetStream is enabled for the account, and has a leader")
			see = check + " " + item.Name
		case item.State == broker.StateMissing:
			if r.Config.NATS.Provision {
				r.warn(check, item.Name, "missing: expected before the first start", "worker run creates it")
			} else {
				r.fail(check, item.Name, "missing", "worker provision creates it")
			}
			if item.Role == broker.Jobs {
				see = check + " " + item.Name
			}
		case item.Role == broker.Jobs && !r.stored(js, item, missing):
		case item.State == broker.StateEqual:
			r.ok(check, item.Name, "as the settings want it")
		default:
			for _, d := range item.Differences {
				// Without a usable setting nobody knows what is wanted.
				if j, key := judge(item, d); key == "" || r.Problems.Usable(key) {
					r.add(check, item.Name, j)
				}
			}
		}
	}
}

// stored reports whether the server still stores jobs in the jobs stream, and adds a failure if it doesn't.
func (r *run) stored(js jetstream.JetStream, item broker.Item, missing []broker.Right) bool {
	if hinder(missing, broker.StoreRight(item.Name).Subject) {
		return true
	}
	ctx, cancel := r.bounded()
	defer cancel()
	stream, err := js.Stream(ctx, item.Name)
	if err != nil {
		return true // the next item meets the same error
	}
	why := broker.StoreError(ctx, stream)
	if why != "" {
		r.fail(string(item.Kind), item.Name, broker.Leader(js, stream)+" stores nothing more in it: "+why,
			"make room on that server's disk, then restart it")
	}
	return why == ""
}
