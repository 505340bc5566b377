"""What commands say about stores: damage found, repair, room on the disk."""
