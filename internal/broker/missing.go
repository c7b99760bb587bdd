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

	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	userInfoSubject = "$SYS.REQ.USER.INFO"
	// userInfoPatience bounds the wait for the server's word on our rights. It answers
	// at once, or, where we may not ask, never.
	userInfoPatience = time.Second
)

// Dispensable reports whether a worker does without the right on some servers: it
// is for an option of newer ones, or only for asking about rights.
func (r Right) Dispensable() bool {
	return strings.Contains(r.Subject, ".*.*.") || r.Subject == userInfoSubject
}

// MissingPermissions returns those of the rights that the connection's user does
// not have, as the server tells. Where it doesn't, each right is tried out with a
// message that nothing comes of; requestID must be that of no request. An error is a
// connection that broke meanwhile.
func MissingPermissions(ctx context.Context, nc *nats.Conn, rights []Right, requestID string) ([]Right, error) {
	permissions, err := askRights(ctx, nc)
	if err != nil {
		return tryRights(ctx, nc, rights, requestID)
	}
	return slices.DeleteFunc(slices.Clone(rights), func(r Right) bool { return permits(permissions, r) }), nil
}

// askRights returns what the server says of our user; nil is no restriction.
func askRights(ctx context.Context, nc *nats.Conn) (*server.Permissions, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, userInfoPatience, errors.New("the server does not tell our rights"))
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
	allowed := len(list.Allow) == 0
	for _, allow := range list.Allow {
		allowed = allowed || server.SubjectMatchesFilter(r.Subject, allow)
	}
	for _, deny := range list.Deny {
		// Behind a space stands the queue group that an entry is for; we are in none.
		if !strings.Contains(deny, " ") && server.SubjectsCollide(r.Subject, deny) {
			return false
		}
	}
	return allowed
}

// tryRights finds out by trying. The server reports a denial before it answers the
// ping that follows.
func tryRights(ctx context.Context, nc *nats.Conn, rights []Right, requestID string) ([]Right, error) {
	result, err := json.Marshal(passcode.Result{
		RequestID: requestID,
		Error: &passcode.Error{
			Code: "trial", Class: passcode.ClassInvalid, Message: "worker check tries whether it may write here; there is no such request",
		},
	}.In(passcode.StatusRejected))
	if err != nil {
		return nil, err
	}
	sample := strings.NewReplacer("*", requestID, ">", requestID) // nothing of ours uses such a subject
	var missing []Right
	for _, r := range rights {
		subject := sample.Replace(r.Subject)
		if err := try(ctx, nc, r.Direction, subject, result); err != nil {
			return missing, err
		}
		if denied(nc.LastError(), subject) {
			missing = append(missing, r)
		}
	}
	return missing, nil
}

func try(ctx context.Context, nc *nats.Conn, d Direction, subject string, result []byte) error {
	if d == Subscribe {
		sub, err := nc.SubscribeSync(subject)
		if err != nil {
			return fmt.Errorf("try to subscribe to %s: %w", subject, err)
		}
		defer func() { _ = sub.Unsubscribe() }() // one that was denied is gone already
	} else if err := nc.PublishMsg(harmless(subject, result)); err != nil {
		return fmt.Errorf("try to publish to %s: %w", subject, err)
	}
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("try the rights of the connection: %w", err)
	}
	return nil
}

// harmless is a message of which nothing comes. JetStream's own subjects refuse what
// is neither JSON nor a word of theirs, and a stream a message that was meant for
// another.
func harmless(subject string, result []byte) *nats.Msg {
	msg := nats.NewMsg(subject)
	if strings.HasPrefix(subject, "$JS.") {
		msg.Data = []byte("{")
		return msg
	}
	msg.Header.Set(nats.ExpectedStreamHdr, "no-such-stream")
	msg.Data = result
	return msg
}

func denied(last error, subject string) bool {
	_, violated, ok := violation(last)
	return ok && violated == subject
}
