"""Small demonstrations of single ideas of the field: `polysemy demo NAME`."""
