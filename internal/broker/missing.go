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
