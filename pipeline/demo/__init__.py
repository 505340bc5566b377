"""What `pipe demo` carries: drawn street scenes and two networks trained on them."""
