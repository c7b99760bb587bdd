package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// Print writes the settings as YAML, in the order of the file, with secrets masked.
// As a settings file it gives the same settings where no secret is set. What a
// connector file gave stands in comments, since the keys can't be set beside it.
func Print(w io.Writer, c Config) error {
	defaults, shown := Default(), c
	fromConnector := func(k key) bool { return c.Aliyun.ConnectorFile != "" && slices.Contains(connectorGives, k.path) }
	for _, k := range known.keys {
		if fromConnector(k) {
			k.field(&shown).Set(k.field(&defaults))
		}
	}
	root := &yaml.Node{}
	if err := root.Encode(shown); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	written := newErrors()
	written.lay("", root)
	for _, k := range known.keys {
		n := written.nodes[k.path]
		tidy(n, k.field(&shown))
		if fromConnector(k) {
			text, _ := json.Marshal(k.field(&c).Interface()) // texts alone; it escapes line breaks
			n.LineComment = "from connector_file: " + string(text)
		}
	}
	// The encoder does not wrap its writer's error, so it writes to memory.
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	err := errors.Join(encoder.Encode(root), encoder.Close())
	if err == nil {
		_, err = w.Write(text.Bytes())
	}
	if err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	return nil
}

// tidy writes durations in their shortest form, and lists of single words on one line.
func tidy(n *yaml.Node, v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		n.Value = domain.FormatDuration(time.Duration(v.Int()))
	case v.Kind() == reflect.Slice:
		for i, entry := range n.Content {
			tidy(entry, v.Index(i))
		}
		if len(n.Content) == 0 || n.Content[0].Kind == yaml.ScalarNode {
			n.Style = yaml.FlowStyle
		}
	}
}
