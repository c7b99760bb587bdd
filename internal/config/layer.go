package config

import (
	"cmp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// setting is a value as it was written, and where.
type setting struct {
	Node   *yaml.Node
	Source string // such as "worker.yaml line 3"
}

// rootName stands for the name of the settings as a whole.
const rootName = "settings"

// layer is what one source sets, by path.
type layer map[string]setting

// section reads a mapping of settings and further sections into the layer.
// Every problem in it is noted, and what is right is kept. The source function
// tells where a node stands.
func (l layer) section(path string, n *yaml.Node, source func(*yaml.Node) string, bad *problems) {
	if isNull(n) { // a section with nothing in it
		return
	}
	if n.Kind != yaml.MappingNode {
		bad.add(cmp.Or(path, rootName), source(n), "must be a section of settings", "write its settings beneath it, each as key: value")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := join(path, name.Value)
		switch {
		case name.Kind != yaml.ScalarNode || name.ShortTag() == "!!merge":
			bad.add(cmp.Or(path, rootName), source(name), "holds a key that is no plain name", "write each setting out as key: value")
		case seen[name.Value]:
			bad.add(shown(at), source(name), "is set twice", "keep one of the two")
		case strings.Contains(name.Value, "."):
			// A dotted name would otherwise pass for a path.
			bad.add(shown(at), source(name), "is no setting", "write the levels of a path as sections, one beneath the other")
		case known.sections[at]:
			l.section(at, value, source, bad)
		case known.leaves[at]:
			l.leaf(at, value, source, bad)
		default:
			meant := nearest(at)
			bad.unknown(at, source(name), meant, meant)
		}
		seen[name.Value] = true
	}
}

// leaf keeps a setting's value. One without a value leaves what was there.
func (l layer) leaf(path string, n *yaml.Node, source func(*yaml.Node) string, bad *problems) {
	if at := firstTrick(n); at != nil {
		bad.add(path, source(at), "uses an alias or a tag of YAML, which settings don't allow", "write the value itself")
		return
	}
	if !isNull(n) {
		l[path] = setting{Node: n, Source: source(n)}
	}
}

// firstTrick finds an alias or an explicit tag. Aliases could be made to grow
// without bound, and a tag would have a value read otherwise than it looks.
func firstTrick(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode || n.Style&yaml.TaggedStyle != 0 {
		return n
	}
	for _, child := range n.Content {
		if at := firstTrick(child); at != nil {
			return at
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}
