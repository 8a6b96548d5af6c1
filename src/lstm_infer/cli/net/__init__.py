"""A picture of a net as a page: `units` what a box is, `layered` where it stands, `page` HTML with the drawing in it."""
