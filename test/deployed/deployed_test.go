package deployed_test

import (
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/test/deployed"
)

func subjects(rights []broker.Right, d broker.Direction) []string {
	var list []string
	for _, r := range rights {
		if r.Direction == d {
			list = append(list, r.Subject)
		}
	}
	return list
}

func TestTheFileGrantsWhatAWorkerNeeds(t *testing.T) {
	t.Parallel()
	c := config.Default()
	worker := deployed.Rights(t, deployed.Worker)
	needed := broker.WorkerRights(c)
	assert.ElementsMatch(t, subjects(needed, broker.Publish), worker.Publish.Allow)
	assert.ElementsMatch(t, subjects(needed, broker.Subscribe), worker.Subscribe.Allow)

	operator := deployed.Rights(t, deployed.Operator)
	for _, right := range broker.ProvisionRights(c) {
		assert.Contains(t, operator.Publish.Allow, right.Subject)
	}
	assert.Contains(t, operator.Subscribe.Allow, broker.CommandInbox+".>")
}

// A user without a list may do everything, and one who is granted a subject twice
// is one whose list nobody has read.
func TestEveryUserHasAList(t *testing.T) {
	t.Parallel()
	for _, user := range []string{deployed.Worker, deployed.Operator, deployed.Console, deployed.Producer} {
		p := deployed.Rights(t, user)
		for _, list := range []*server.SubjectPermission{p.Publish, p.Subscribe} {
			require.NotNil(t, list, user)
			require.NotEmpty(t, list.Allow, user)
			for _, one := range list.Allow {
				assert.False(t, slices.ContainsFunc(list.Allow, func(other string) bool {
					return one != other && server.SubjectMatchesFilter(one, other)
				}), "%s: another right covers %s", user, one)
			}
		}
	}
}
