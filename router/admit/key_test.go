package admit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeys_findByTheHash(t *testing.T) {
	keys, err := NewKeys([]Key{{Name: "team", SHA256: Hash("s3cret")}, {Name: "other", SHA256: Hash("0ther")}})
	require.NoError(t, err)
	require.True(t, keys.Required())
	for _, header := range []string{"Bearer s3cret", "bearer s3cret", "Bearer  s3cret "} {
		k, ok := keys.Find(header)
		require.True(t, ok, header)
		require.Equal(t, "team", k.Name)
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "s3cret", "Basic s3cret", "Bearer " + Hash("s3cret"), "Bearer S3cret"} {
		_, ok := keys.Find(header)
		require.False(t, ok, header)
	}
}

func TestKeys_noneMeansAnybody(t *testing.T) {
	keys, err := NewKeys(nil)
	require.NoError(t, err)
	require.False(t, keys.Required())
	k, ok := keys.Find("")
	require.True(t, ok)
	require.Equal(t, High, k.Priority)
}

func TestKeys_replaceKeepsTheOldOnesIfAnyIsWrong(t *testing.T) {
	keys, err := NewKeys([]Key{{Name: "old", SHA256: Hash("old")}})
	require.NoError(t, err)
	err = keys.Replace([]Key{
		{Name: "new", SHA256: Hash("new")}, {SHA256: Hash("x")}, {Name: "new", SHA256: Hash("y")},
		{Name: "short", SHA256: "abcd"}, {Name: "same", SHA256: Hash("new")}, {Name: "less", SHA256: Hash("less"), Rate: -1},
	})
	require.EqualError(t, err, `key number 2 has no name
key "new" is there twice
key "short": sha256 is not a SHA-256 in hex; make it with: printf %s "$KEY" | sha256sum
keys "new" and "same" are the same key
key "less": a limit is negative; leave it out for none`)
	_, ok := keys.Find("Bearer old")
	require.True(t, ok)
	require.NoError(t, keys.Replace([]Key{{Name: "new", SHA256: Hash("new")}}))
	_, ok = keys.Find("Bearer old")
	require.False(t, ok)
}

func TestParsePriority(t *testing.T) {
	for _, p := range []Priority{Low, Normal, High} {
		got, err := ParsePriority(p.String())
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
	p, err := ParsePriority("")
	require.NoError(t, err)
	require.Equal(t, Normal, p)
	_, err = ParsePriority("urgent")
	require.EqualError(t, err, `priority "urgent": want low, normal or high`)
}
