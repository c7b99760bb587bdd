package check

import (
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/broker"
)

// itemKeys are the settings that name an item.
var itemKeys = map[role][]string{
	results:  {"results.bucket"},
	limits:   {"limits.bucket"},
	dead:     {"dead_letters.stream"},
	jobs:     {"jobs.stream"},
	consumer: {"jobs.stream", "jobs.consumer"},
}

// items compares each stream, bucket and consumer with the settings.
func (r *run) items(nc *nats.Conn, missing []broker.Right) {
	js, err := jetstream.New(nc)
	if err != nil { // an option contradicts another, and there are none
		r.fail(checkStream, "", err.Error(), "")
		return
	}
	see := "" // why the next items are not checked: no answer, or no stream for the consumer
	blocked := func(item broker.Item) string {
		switch {
		case see != "":
			return see
		case !r.Problems.Usable(itemKeys[r.role(item)]...):
			return checkSettings
		case hinder(missing, item.Request):
			return checkRights
		default:
			return ""
		}
	}
	skip := func(item broker.Item) bool { return blocked(item) != "" }
	broker.Inspect(r.ctx, js, r.Topology, skip, func(item broker.Item, err error) {
		check := string(item.Kind)
		switch {
		case err != nil:
			r.fail(check, item.Name, err.Error(), "see that JetStream is enabled for the account, and has a leader")
			see = check + " " + item.Name
		case !r.stored(js, item, missing):
		case item.State == broker.StateEqual:
			r.ok(check, item.Name, "as the settings want it")
		case item.State == broker.StateDiffers:
			for _, d := range item.Differences {
				// Without a usable setting nobody knows what is wanted.
				if j, key := judge(r.role(item), item, r.Topology.JobsStream, d); key == "" || r.Problems.Usable(key) {
					r.add(check, item.Name, j)
				}
			}
		case item.State == broker.StateMissing:
			if r.Config.NATS.Provision {
				r.warn(check, item.Name, "missing: expected before the first start", "worker run creates it")
			} else {
				r.fail(check, item.Name, "missing", "worker provision creates it")
			}
			if item.Kind == broker.KindStream && item.Name == r.Topology.JobsStream {
				see = check + " " + item.Name
			}
		default:
			r.warn(check, item.Name, "not checked: see "+blocked(item), "")
		}
	})
}

// stored reports whether the server still stores jobs in the jobs stream, and adds a
// failure if it doesn't. Other items can't be asked.
func (r *run) stored(js jetstream.JetStream, item broker.Item, missing []broker.Right) bool {
	if item.Kind != broker.KindStream || r.role(item) != jobs || item.State == "" || item.State == broker.StateMissing ||
		hinder(missing, broker.StoreRight(item.Name).Subject) {
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

// role says what an item is for.
func (r *run) role(item broker.Item) role {
	switch {
	case item.Kind == broker.KindConsumer:
		return consumer
	case item.Kind == broker.KindBucket && item.Name == r.Topology.ResultsBucket:
		return results
	case item.Kind == broker.KindBucket:
		return limits
	case item.Name == r.Topology.JobsStream:
		return jobs
	default:
		return dead
	}
}
