"""What deployment needs: ONNX files that were compared with torch, and everything that goes with them."""
