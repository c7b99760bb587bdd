package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/config"
)

// Direction says which way the messages of a [Right] go.
type Direction string

// The directions, in the server's own words.
const (
	Publish   Direction = "publish"
	Subscribe Direction = "subscribe"
)

// Right is one permission of a user: the subject as it stands in the server's
// settings, wildcards and all, and what goes wrong without it.
type Right struct {
	Direction Direction `json:"direction"`
	Subject   string    `json:"subject"`
	Why       string    `json:"why"`
}

// The prefixes of the inboxes to which the broker sends its answers, which may hold jobs. They are not the _INBOX
// to which everybody may subscribe, and two, so that users of the broker can be kept to their own.
const (
	WorkerInbox  = "_INBOX_passcode-worker"
	CommandInbox = "_INBOX_passcode-command"
)

const userInfoSubject = "$SYS.REQ.USER.INFO"

// WorkerRights lists what "worker run" must be allowed on a broker where everything is provisioned;
// [ProvisionRights] is what it takes besides to create what is missing. No right covers another.
func WorkerRights(cfg config.Config) []Right {
	requests, limits := bucketStream(cfg.Results.Bucket), bucketStream(cfg.Limits.Bucket)
	consumer := cfg.Jobs.Stream + "." + cfg.Jobs.Consumer
	rights := []Right{
		publish(api("CONSUMER.INFO."+consumer), "find the consumer, and see whether it is paused"),
		publish(api("CONSUMER.MSG.NEXT."+consumer), "pull jobs"),
		publish("$JS.ACK."+consumer+".>", "acknowledge, postpone and hold jobs"),
		publish("$JS.ACK.*.*."+consumer+".>", "the same where the server has js_ack_fc_v2 on (2.14 and later)"),
		publish(api("CONSUMER.PAUSE."+consumer), "stop all replicas while Aliyun refuses the account"),
		publish(api("DIRECT.GET."+cfg.Jobs.Stream), "read an undeliverable job, and see whether the one that owns a request is there"),
		StoreRight(cfg.Jobs.Stream),
		publish(bucketSubject(cfg.Results.Bucket, "*"), "write the records of requests"),
		publish(api("STREAM.MSG.GET."+requests), "read the records of requests from their leader"),
		publish(bucketSubject(cfg.Limits.Bucket, "*"), "count what each phone was sent, and keep the state of the account"),
		publish(api("STREAM.MSG.GET."+limits), "read those counts and that state from their leader"),
		publish(api("CONSUMER.CREATE."+limits+".*."+bucketSubject(cfg.Limits.Bucket, "account")), "watch the state of the account"),
		publish(api("CONSUMER.DELETE."+limits+".*"), "end that watch"),
		publish("$JS.FC."+limits+".>", "keep that watch flowing"),
		publish("$JS.FC.*.*."+limits+".>", "the same where the server has js_ack_fc_v2 on (2.14 and later)"),
		publish(cfg.DeadLetters.Subject+".*.*", "write dead letters"),
		publish(cfg.Results.Subject+".*", "announce a stored result again to whoever repeated its job"),
	}
	for _, subject := range cfg.Results.ReplySubjects {
		rights = append(rights, publish(subject, "answer on the reply_to of a job (results.reply_subjects)"))
	}
	for _, stream := range []string{cfg.Jobs.Stream, cfg.DeadLetters.Stream, requests, limits} {
		rights = append(rights, publish(api("STREAM.INFO."+stream), "compare the stream with the settings, and watch over it"))
	}
	return distinct(append(rights,
		publish(userInfoSubject, "ask the server for its own rights; without it worker check sees no other that is missing"),
		subscribe(WorkerInbox+".>", "receive jobs and every answer of the broker"),
		subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."+consumer, "hear of a job that the server no longer delivers"),
		subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED."+consumer, "hear of a job that somebody has terminated"),
	))
}

// ProvisionRights lists what it takes to create the streams, the buckets and the
// consumer: for "worker provision", and for a worker with nats.provision.
func ProvisionRights(cfg config.Config) []Right {
	var rights []Right
	for _, stream := range []string{bucketStream(cfg.Results.Bucket), bucketStream(cfg.Limits.Bucket), cfg.DeadLetters.Stream, cfg.Jobs.Stream} {
		rights = append(rights,
			publish(api("STREAM.INFO."+stream), "see whether the stream is there"),
			publish(api("STREAM.CREATE."+stream), "create the stream"))
	}
	consumer := cfg.Jobs.Stream + "." + cfg.Jobs.Consumer
	return distinct(append(rights,
		publish(api("CONSUMER.INFO."+consumer), "see whether the consumer is there"),
		publish(api("CONSUMER.CREATE."+consumer+"."+cfg.Jobs.Subject), "create the consumer")))
}

func publish(subject, why string) Right   { return Right{Publish, subject, why} }
func subscribe(subject, why string) Right { return Right{Subscribe, subject, why} }

func api(request string) string { return "$JS.API." + request }

// distinct drops each right that another one covers: with the default settings
// the reply subjects cover the results.
func distinct(rights []Right) []Right {
	var least []Right
	for i, r := range rights {
		covered := false
		for j, other := range rights {
			same := r.Subject == other.Subject
			covered = covered || r.Direction == other.Direction &&
				(same && j < i || !same && server.SubjectMatchesFilter(r.Subject, other.Subject))
		}
		if !covered {
			least = append(least, r)
		}
	}
	return least
}

// Dispensable reports whether a worker does without the right on some servers: it
// is for an option of newer ones, or only for asking about rights.
func (r Right) Dispensable() bool {
	return strings.Contains(r.Subject, ".*.*.") || r.Subject == userInfoSubject
}

// MissingPermissions returns those of the rights that the connection's user does
// not have, as the server tells. Of a user who may not ask, or not hear the answer, it
// returns that right alone. An error is that the server tells nothing.
func MissingPermissions(ctx context.Context, nc *nats.Conn, rights []Right) ([]Right, error) {
	permissions, err := askRights(ctx, nc)
	if direction, subject, denied := violation(nc.LastError()); err != nil && denied {
		isOther := func(r Right) bool { return r.Direction != direction || r.Subject != asGranted(subject) }
		return slices.DeleteFunc(slices.Clone(rights), isOther), nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(rights), func(r Right) bool { return permits(permissions, r) }), nil
}

// askRights returns what the server says of our user; nil is no restriction.
func askRights(ctx context.Context, nc *nats.Conn) (*server.Permissions, error) {
	// The server answers at once, or, where we may not ask, never.
	ctx, cancel := context.WithTimeoutCause(ctx, time.Second, errors.New("the server does not tell our rights"))
	defer cancel()
	answer, err := nc.RequestWithContext(ctx, userInfoSubject, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for our rights: %w", err)
	}
	return readRights(answer.Data)
}

func readRights(answer []byte) (*server.Permissions, error) {
	var info struct {
		Data  *server.UserInfo `json:"data"`
		Error *server.ApiError `json:"error"`
	}
	if err := json.Unmarshal(answer, &info); err != nil || info.Error != nil || info.Data == nil {
		return nil, errors.New("ask for our rights: the answer holds none")
	}
	return info.Data.Permissions, nil
}

// permits applies the server's rules: an allow list, where there is one, must
// cover the subject as a whole, and no denial may touch it.
func permits(p *server.Permissions, r Right) bool {
	if p == nil {
		return true
	}
	list := p.Publish
	if r.Direction == Subscribe {
		list = p.Subscribe
	}
	if list == nil {
		return true
	}
	covers := func(allow string) bool { return server.SubjectMatchesFilter(r.Subject, allow) }
	touches := func(deny string) bool {
		// Behind a space stands the queue group that an entry is for; we are in none.
		return !strings.Contains(deny, " ") && server.SubjectsCollide(r.Subject, deny)
	}
	return (len(list.Allow) == 0 || slices.ContainsFunc(list.Allow, covers)) && !slices.ContainsFunc(list.Deny, touches)
}
