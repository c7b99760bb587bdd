package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/broker"
)

// broker checks the connection, and over it all that is behind it.
func (r *run) broker() {
	nc := r.connect()
	if nc == nil {
		r.skip(checkBroker, checkVersion, checkRights, checkStream)
		return
	}
	defer nc.Close()
	r.version(nc)
	r.replicas(nc)
	r.items(nc, r.rights(nc))
}

// connect returns the connection, or nil after it said why there is none.
func (r *run) connect() *nats.Conn {
	if !r.Problems.Usable(connecting...) {
		r.skip(checkSettings, checkBroker)
		return nil
	}
	ctx, cancel := r.bounded()
	defer cancel()
	nc, err := r.Dial(ctx)
	embedded := r.Config.NATS.Embedded
	switch {
	case err == nil:
		r.ok(checkBroker, "", "connected to "+nc.ConnectedUrlRedacted())
	case embedded.Enabled:
		// It is there as long as a worker is.
		r.warn(checkBroker, "", "the embedded broker does not answer at "+embedded.Listen+", since it runs inside the worker",
			"check again while worker run is running")
	default:
		r.fail(checkBroker, "", r.Config.NATS.URL.String()+": "+err.Error(), fixConnection(err))
	}
	return nc
}

func fixConnection(err error) string {
	text := strings.ToLower(err.Error())
	switch {
	case strings.HasPrefix(text, "nats."): // a setting, not "nats: " of the client
		return "correct that setting, or the file that it names"
	case strings.Contains(text, "authorization") || strings.Contains(text, "authentication"):
		return "correct nats.creds, nats.nkey_seed_file, nats.user and nats.password, or nats.token, or let this user in on the broker"
	case strings.Contains(text, "tls: ") || strings.Contains(text, "x509") || strings.Contains(text, "secure"):
		return "correct nats.tls.ca, nats.tls.cert and nats.tls.key, or the broker's certificate"
	default:
		return "start the broker, correct nats.url, or let this machine reach it"
	}
}

func (r *run) version(nc *nats.Conn) {
	if err := broker.CheckServer(nc); err != nil {
		detail, _, _ := strings.Cut(err.Error(), ": upgrade")
		r.fail(checkVersion, "", detail, "upgrade every server of the broker")
		return
	}
	r.ok(checkVersion, "", "NATS "+nc.ConnectedServerVersion())
}

// replicas compares the setting with whether there is a cluster. One replica on one server is not worth a line.
func (r *run) replicas(nc *nats.Conn) {
	n, cluster := r.Config.NATS.Replicas, nc.ConnectedClusterName()
	switch {
	case !r.Problems.Usable("nats.replicas") || n == 1 && cluster == "":
	case n == 1:
		r.warn(checkReplicas, "", "nats.replicas is 1 in the cluster "+cluster+": what one server loses is lost",
			"set nats.replicas to 3, and change what is there with the nats tool")
	case cluster == "":
		r.fail(checkReplicas, "", fmt.Sprintf("nats.replicas is %d, and this server is in no cluster", n),
			"set nats.replicas to 1, or connect to a cluster")
	default:
		r.ok(checkReplicas, "", fmt.Sprintf("%d in the cluster %s", n, cluster))
	}
}

// rights reports and returns each permission that the worker's user lacks.
func (r *run) rights(nc *nats.Conn) []broker.Right {
	if !r.Problems.Usable(naming...) {
		r.skip(checkSettings, checkRights)
		return nil
	}
	ctx, cancel := r.bounded()
	defer cancel()
	needed := broker.WorkerRights(r.Config)
	missing, err := broker.MissingPermissions(ctx, nc, needed)
	if err != nil {
		r.fail(checkRights, "", err.Error(), "run it again; the broker may have gone away meanwhile")
		return nil
	}
	for _, right := range missing {
		name := string(right.Direction) + " " + right.Subject
		fix := fmt.Sprintf("add it to permissions.%s.allow of the worker's user on the broker, and let no deny touch it", right.Direction)
		if right.Dispensable() {
			r.warn(checkRights, name, "not allowed, and not needed on every server: "+right.Why, fix)
		} else {
			r.fail(checkRights, name, "not allowed: "+right.Why, fix)
		}
	}
	if len(missing) == 0 {
		r.ok(checkRights, "", fmt.Sprintf("all %d that a worker needs", len(needed)))
	}
	return missing
}

// hinder reports whether a request can't be made, or its answer not be heard.
func hinder(missing []broker.Right, request string) bool {
	return slices.ContainsFunc(missing, func(right broker.Right) bool {
		return right.Subject == request || strings.HasPrefix(right.Subject, broker.WorkerInbox)
	})
}

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
